// SPDX-License-Identifier: Apache-2.0
#include "lsd/data/fasta_header.h"

#include <gtest/gtest.h>

namespace lsd::data {
namespace {

TEST(FastaHeader, IdsOfRealHeaders) {
  EXPECT_EQ(
      id_of_header("UniRef50_A0A345MT53 Adenylation kDNA ligase-like protein n=1 Tax=CrAssphage sp. TaxID=2212563 "
                   "RepID=A0A345MT53_9CAUD"),
      "UniRef50_A0A345MT53");
  EXPECT_EQ(id_of_header(
                "UniRef90_D7BIZ4/1-73 [subseq from] Uncharacterized protein n=1 Tax=Meiothermus silvanus TaxID=526227"),
            "UniRef90_D7BIZ4/1-73");
  EXPECT_EQ(id_of_header(
                "tr|M4KW32|M4KW32_BACIU Choline ABC transporter (ATP-binding protein) OS=Bacillus subtilis GN=opuBA"),
            "M4KW32");
  EXPECT_EQ(id_of_header("sp|P12345-2|AATM_RABIT Isoform 2"), "P12345-2");
  EXPECT_EQ(id_of_header("XP_001234567.1 hypothetical protein [Homo sapiens]"), "XP_001234567.1");
  EXPECT_EQ(id_of_header("gi|129295|sp|P01013.1|OVAX_CHICK RecName: Full=Ovalbumin"), "P01013.1");
  EXPECT_EQ(id_of_header("gi|568815597|ref|NP_000242.1| DNA repair"), "NP_000242.1");
  EXPECT_EQ(id_of_header("gi|129295"), "129295");
  EXPECT_EQ(id_of_header("ref|WP_011.1| transposase"), "WP_011.1");
  EXPECT_EQ(id_of_header("pir||A12345"), "A12345");
  EXPECT_EQ(id_of_header("pdb|1ABC|A Chain A"), "1ABC|A");
  EXPECT_EQ(id_of_header("gnl|mydb|entry7 thing"), "entry7");
  EXPECT_EQ(id_of_header("A0A183 n=1"), "A0A183");
  EXPECT_EQ(id_of_header("P12345"), "P12345");
}

TEST(FastaHeader, OddHeadersStillHaveAnIdOrNone) {
  EXPECT_EQ(id_of_header("  P12345\tname"), "P12345");
  EXPECT_EQ(id_of_header("my|own|format x"), "my|own|format");
  EXPECT_EQ(id_of_header("sp|"), "sp|");
  EXPECT_EQ(id_of_header("gi|"), "gi|");
  EXPECT_EQ(id_of_header("|"), "|");
  EXPECT_EQ(id_of_header(""), "");
  EXPECT_EQ(id_of_header(" \t "), "");
}

}  // namespace
}  // namespace lsd::data
