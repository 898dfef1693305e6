// SPDX-License-Identifier: Apache-2.0
#include "lsd/data/task_reader.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <zlib.h>

#include <fstream>

#include "lsd/core/error.h"

namespace lsd::data {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

class TaskReaderTest : public testing::Test {
 protected:
  void SetUp() override {
    const auto* info = testing::UnitTest::GetInstance()->current_test_info();
    folder_ = std::filesystem::path(testing::TempDir()) / (std::string("task_reader_") + info->name());
    std::filesystem::remove_all(folder_);
    std::filesystem::create_directories(folder_);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  std::filesystem::path write(const std::string& text, const std::string& name = "task.csv") const {
    std::ofstream(folder_ / name, std::ios::binary) << text;
    return folder_ / name;
  }

  static std::string gzip(const std::string& text) {
    z_stream stream{};
    deflateInit2(&stream, 6, Z_DEFLATED, 16 + MAX_WBITS, 8, Z_DEFAULT_STRATEGY);
    std::string out(deflateBound(&stream, text.size()) + 64, '\0');
    std::string input = text;
    stream.next_in = reinterpret_cast<Bytef*>(input.data());
    stream.avail_in = static_cast<uInt>(input.size());
    stream.next_out = reinterpret_cast<Bytef*>(out.data());
    stream.avail_out = static_cast<uInt>(out.size());
    deflate(&stream, Z_FINISH);
    out.resize(stream.total_out);
    deflateEnd(&stream);
    return out;
  }

  void expect_error(const std::string& text, const std::string& part, TaskOptions options = {}) const {
    const auto path = write(text);
    try {
      read_task(path, options);
      ADD_FAILURE() << "accepted: " << text;
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::data);
      EXPECT_THAT(error.what(), HasSubstr(part));
      EXPECT_THAT(error.what(), HasSubstr(path.string()));
    }
  }

  std::filesystem::path folder_;
};

const std::string kHeader = "id,sequence,label,split\n";
const std::string kGood = kHeader + "p1,MKL,1.5,train\np2,ACJX,-2e1,valid\np3,GG*,0,test\n";

TEST_F(TaskReaderTest, ReadsSingleSequences) {
  const Task task = read_task(write(kGood), {});

  ASSERT_EQ(task.rows.size(), 3U);
  EXPECT_FALSE(task.pairs);
  EXPECT_EQ(task.classes, 0);
  EXPECT_EQ(task.rows[1].id, "p2");
  EXPECT_EQ(task.rows[1].label, -20.0);
  EXPECT_EQ(task.rows[1].split, TaskSplit::valid);
  EXPECT_THAT(task.sequences[0], ElementsAre(20, 15, 4));      // M K L
  EXPECT_THAT(task.sequences[1], ElementsAre(5, 23, 24, 24));  // A C, J read as X, X
  EXPECT_THAT(task.sequences[2], ElementsAre(6, 6));           // the stop at the end is dropped
  EXPECT_EQ(task.odd_residues, 2);
  EXPECT_THAT(task.rows_of(TaskSplit::test), ElementsAre(2));
}

TEST_F(TaskReaderTest, GzipAndTextEndingsGiveTheSameTask) {
  const auto plain = read_task(write(kGood), {});
  const auto two_members = gzip(kGood.substr(0, 40)) + gzip(kGood.substr(40));
  EXPECT_EQ(read_task(write(two_members, "t.csv.gz"), {}).fingerprint, plain.fingerprint);

  std::string crlf = "\xEF\xBB\xBF";
  for (const char c : kGood) crlf += c == '\n' ? std::string("\r\n") : std::string(1, c);
  crlf.resize(crlf.size() - 2);  // and no final newline
  const auto odd = read_task(write(crlf), {});
  EXPECT_EQ(odd.rows.size(), 3U);
  EXPECT_EQ(odd.rows[2].split, TaskSplit::test);
}

TEST_F(TaskReaderTest, ReadsPairsAndSharesEqualSequences) {
  const Task task = read_task(write("id,sequence_a,sequence_b,label,split\n"
                                    "a,MKL,AAA,1,train\nb,AAA,MKL,0,train\nc,GG,GG,1,valid\nd,LL,VV,0,test\n"),
                              {.kind = TaskKind::binary});
  EXPECT_TRUE(task.pairs);
  EXPECT_EQ(task.classes, 2);
  EXPECT_EQ(task.sequences.size(), 5U);
  EXPECT_THAT(task.rows[1].sequence, ElementsAre(1, 0));
  EXPECT_THAT(task.rows[2].sequence, ElementsAre(2, 2));
  EXPECT_EQ(task.sequence_ids[1], "a.b");
}

TEST_F(TaskReaderTest, RefusesBadLabels) {
  expect_error(kHeader + "p1,MKL,,train\n", ":2: row `p1`: the label is missing: write a number");
  expect_error(kHeader + "p1,MKL,1,train\np2,MK,warm,train\n", ":3: row `p2`: label `warm` is not a number: write one");
  expect_error(kHeader + "p1,MKL,nan,train\n", "label `nan` is not a finite number");
  expect_error(kHeader + "p1,MKL,-inf,train\n", "label `-inf` is not a finite number");
  expect_error(kHeader + "p1,MKL,1e999,train\n", "does not fit a number");
  expect_error(kHeader + "p1,MKL,1.5x,train\n", "`1.5x` is not a number");
  expect_error(kHeader + "p1,MKL, 1,train\n", "is not a number");
  expect_error(kHeader + "p1,MKL,0.5,train\n", "integers from 0 to 1. Number them so, or choose task.kind=regression",
               {.kind = TaskKind::binary});
  expect_error(kHeader + "p1,MKL,2,train\n", "integers from 0 to 1", {.kind = TaskKind::binary});
  expect_error(kHeader + "p1,MKL,-1,train\n", "label `-1` is no class", {.kind = TaskKind::classes, .classes = 10});
  expect_error(kHeader + "p1,MKL,10,train\n", "integers from 0 to 9. Number them so, or raise task.classes",
               {.kind = TaskKind::classes, .classes = 10});
}

TEST_F(TaskReaderTest, RefusesBadStructure) {
  expect_error("", "the file is empty");
  expect_error("id,seq,label,split\n", ":1: the header is `id,seq,label,split`");
  expect_error(kHeader + "p1,MKL,1\n", ":2: row `p1`: 3 columns where the header has 4: write every column");
  expect_error(kHeader + "p1,MKL,1,train,x\n", "5 columns where the header has 4");
  expect_error(kHeader + "p1,\"MKL\",1,train\n", ":2: row `p1`: a quoted field");
  expect_error(kHeader + "p1,MKL,1,dev\n", "unknown split `dev`");
  expect_error(kHeader + "p1,MKL,1,train\np1,AAA,1,train\n",
               ":3: row `p1`: its id was already used in line 2: rename or remove one");
  expect_error(kHeader + ",MKL,1,train\n", "the id is missing: give the row one");
  expect_error(kHeader + "p" + std::string(1, '\0') + "7,MKL,1,train\n",
               ":2: row `p\\x007`: the id holds a control character");
  expect_error(kHeader + "p\t7,MKL,1,train\n", ":2: row `p\\x097`: the id holds a control character");
  expect_error(kHeader + "p1,MKL,1,train\np2,MA,1,valid\n", "no row of split test");
  expect_error(kHeader + "p1,MKL,1,test\np2,MA,1,valid\n", "no row of split train");
  expect_error(kHeader, "no row of split train");
}

TEST_F(TaskReaderTest, BlankLinesEndAFileAndAreRefusedWithinIt) {
  for (const std::string end : {"\n", "\r\n", "\r"}) {
    std::string text;
    for (const char c : kGood) text += c == '\n' ? end : std::string(1, c);
    const auto inner = text.find("p2");
    EXPECT_EQ(read_task(write(text + end), {}).rows.size(), 3U);
    EXPECT_EQ(read_task(write(text + end + " \t" + end), {}).rows.size(), 3U);
    expect_error(text.substr(0, inner) + end + text.substr(inner), ":3: a blank line with rows behind it: remove it");
  }
  expect_error("\r\n\r\n", "the file is empty: it needs the header");
}

TEST_F(TaskReaderTest, RefusesBadResidues) {
  expect_error(kHeader + "p1,,1,train\n", ":2: row `p1`: the sequence is empty: write its residues");
  expect_error(kHeader + "p1,*,1,train\n", "the sequence is empty");
  expect_error(kHeader + "p1,M*L,1,train\n",
               "`*` at residue 2 of the sequence is no residue (a stop is taken at the end");
  expect_error(kHeader + "p1,M-L,1,train\n", "`-` at residue 2");
  expect_error(kHeader + "p1,MK1L,1,train\n", ":2: row `p1`: byte 0x31 `1` at residue 3");
  expect_error(kHeader + std::string("p1,M\0L,1,train\n", 15), "byte 0x00 at residue 2");
  expect_error(kHeader + "p1,M\xC3\xA9,1,train\n", "byte 0xc3 at residue 2");
}

// The policy of FASTA input: lower case is soft masking, blanks and stops at the end are dropped.
TEST_F(TaskReaderTest, TakesTheResiduesThatFastaInputTakes) {
  const Task task = read_task(write(kHeader + "p1,mKl,1,train\np2,A C\tJ**,2,valid\np3,GGj,0,test\n"), {});
  EXPECT_THAT(task.sequences[0], ElementsAre(20, 15, 4));
  EXPECT_THAT(task.sequences[1], ElementsAre(5, 23, 24));
  EXPECT_THAT(task.sequences[2], ElementsAre(6, 6, 24));
  EXPECT_EQ(task.lower_case_residues, 3);
}

TEST_F(TaskReaderTest, SequencesAreComparedByTheirResidues) {
  for (const std::string other : {"MKJL*", "MKXL", "mkJl", "MK JL"}) {
    const std::string text = kHeader + "p1,MKJL,1,train\np2,AA,1,valid\np3," + other + ",0,test\n";
    expect_error(
        text,
        ":4: row `p3`: this sequence (as residues: no `*` at its end, J as X) stands in split test and, in line 2");
    const Task task = read_task(write(text), {.allow_shared_sequences = true});
    EXPECT_EQ(task.shared_sequences, 1) << other;
    EXPECT_EQ(task.sequences.size(), 2U) << other;
  }
}

TEST_F(TaskReaderTest, RefusesSequencesInTwoSplitsUnlessAllowed) {
  const std::string shared = kHeader + "p1,MKL,1,train\np2,AA,1,valid\np3,AA,0,test\np4,AA,0,test\np5,MKL,1,train\n";
  expect_error(shared,
               ":4: row `p3`: this sequence (as residues: no `*` at its end, J as X) stands in split test and, in line "
               "3, in split valid");

  const Task task = read_task(write(shared), {.allow_shared_sequences = true});
  EXPECT_EQ(task.shared_sequences, 1);
  EXPECT_EQ(task.rows.size(), 5U);
}

TEST_F(TaskReaderTest, RefusesDamagedGzip) {
  const std::string good = gzip(kGood);
  const auto error_of = [&](const std::string& bytes, const std::string& name) -> std::string {
    try {
      read_task(write(bytes, name), {});
    } catch (const Error& error) {
      return error.what();
    }
    return "accepted";
  };
  EXPECT_EQ(read_task(write(good, "t.csv.gz"), {}).rows.size(), 3U);
  EXPECT_THAT(error_of(good.substr(0, good.size() - 9), "t.csv.gz"), HasSubstr("cut short"));
  EXPECT_THAT(error_of(good.substr(0, good.size() / 2), "t.csv.gz"), HasSubstr("cut short"));
  EXPECT_THAT(error_of(good + "trailing garbage of some length", "t.csv.gz"),
              HasSubstr("garbage behind gzip member 1"));
  EXPECT_EQ(read_task(write(kGood, "t.csv.gz"), {}).rows.size(), 3U);  // its first bytes tell, as for FASTA
  std::string flipped = good;
  flipped[good.size() - 6] = static_cast<char>(flipped[good.size() - 6] ^ 0x10);  // in the checksum
  EXPECT_THAT(error_of(flipped, "t.csv.gz"), HasSubstr("the checksum does not fit"));
  EXPECT_THAT(error_of(kGood, "other/t.csv"), HasSubstr("t.csv"));  // the folder does not exist
}

TEST_F(TaskReaderTest, CountsClasses) {
  const std::string text = kHeader + "p1,MKL,0,train\np2,AA,2,valid\np3,AC,1,test\n";
  EXPECT_EQ(read_task(write(text), {.kind = TaskKind::classes}).classes, 3);
  EXPECT_EQ(read_task(write(text), {.kind = TaskKind::classes, .classes = 10}).classes, 10);
  const std::string gaps = kHeader + "p1,MKL,0,train\np2,AA,100,valid\np3,AC,50,test\n";
  expect_error(gaps, "3 different labels from 0 to 100, and no row of class 1: number the classes from 0 without gaps",
               {.kind = TaskKind::classes});
  EXPECT_EQ(read_task(write(gaps), {.kind = TaskKind::classes, .classes = 101}).classes, 101);
}

class LabelsTest : public TaskReaderTest {
 protected:
  // One row for each label.
  Task task_of(TaskKind kind, const std::vector<double>& train, const std::vector<double>& valid,
               const std::vector<double>& test, std::int64_t classes = 0) const {
    std::string text = kHeader;
    std::string residues = "M";
    for (const auto& [labels, split] : {std::pair{&train, "train"}, {&valid, "valid"}, {&test, "test"}}) {
      for (const double label : *labels) {
        residues += "K";
        text += fmt::format("q{},{},{},{}\n", residues.size(), residues, label, split);
      }
    }
    return read_task(write(text), {.kind = kind, .classes = classes});
  }
  void expect_refused(const Task& task, const std::string& part) const {
    try {
      judge_labels(task);
      ADD_FAILURE() << "accepted, wanted: " << part;
    } catch (const DataError& error) {
      EXPECT_THAT(error.what(), HasSubstr(part));
      EXPECT_THAT(error.what(), HasSubstr(task.file));
    }
  }
};

TEST_F(LabelsTest, LabelsThatTellNothingAreRefused) {
  expect_refused(task_of(TaskKind::regression, {1.5, 1.5}, {1, 2}, {1, 2}),
                 "all rows of split train have the label 1.5");
  expect_refused(task_of(TaskKind::regression, {1, 2}, {3, 3}, {1, 2}), "all rows of split valid have the label 3");
  expect_refused(task_of(TaskKind::regression, {1, 2}, {1, 2}, {4}), "split test have the label 4: a rank correlation");
  expect_refused(task_of(TaskKind::classes, {0, 0}, {1, 0}, {0, 1}), "there is nothing to learn");
  expect_refused(task_of(TaskKind::binary, {1, 1}, {1, 0}, {0, 1}), "all rows of split train have the label 1");
}

TEST_F(LabelsTest, OddClassesAreNoted) {
  EXPECT_TRUE(judge_labels(task_of(TaskKind::classes, {0, 1, 2}, {0}, {2, 1})).empty());
  EXPECT_TRUE(judge_labels(task_of(TaskKind::regression, {0, 1}, {0, 1}, {2, 1})).empty());
  EXPECT_THAT(
      judge_labels(task_of(TaskKind::classes, {0, 1}, {0}, {2, 1, 2})),
      ElementsAre(HasSubstr("class 2 has 0 validation and 2 test rows (the first is `q5`) and no training row")));
  EXPECT_THAT(judge_labels(task_of(TaskKind::classes, {0, 2}, {0}, {2, 0}, 3)),
              ElementsAre(HasSubstr("no row has the class 1, of 3 classes")));
  EXPECT_THAT(judge_labels(task_of(TaskKind::binary, {0, 1}, {0}, {1, 1})),
              ElementsAre(HasSubstr("all test rows have one class")));
  const auto many = judge_labels(task_of(TaskKind::classes, {0, 1}, {0}, {1, 0}, 101));
  EXPECT_EQ(many.size(), 9U);
  EXPECT_THAT(many.back(), HasSubstr("91 more such classes"));
}

}  // namespace
}  // namespace lsd::data
