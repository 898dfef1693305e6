#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Fetches UniRef50 (more than 10 GB of gzip) with resume and checks it against the release's own MD5 list.
#
#   data_prep/fetch_uniref50.sh FOLDER [BASE_URL]
#
# Run it again after a broken connection: it goes on where it stopped. Needs curl and python3 and a way to the internet.
# It has been checked for syntax and against a local server only, never against the real site.
set -euo pipefail

folder=${1:?usage: fetch_uniref50.sh FOLDER [BASE_URL]}
base=${2:-https://ftp.uniprot.org/pub/databases/uniprot/uniref/uniref50}
file=uniref50.fasta.gz

mkdir -p "$folder"
cd "$folder"
curl --fail --location --retry 5 --silent --show-error --output RELEASE.metalink "$base/RELEASE.metalink"
expected=$(python3 - "$file" <<'PYTHON'
import sys
import xml.etree.ElementTree as tree

for entry in tree.parse("RELEASE.metalink").iter():
    if entry.tag.rsplit("}", 1)[-1] == "file" and entry.get("name") == sys.argv[1]:
        for part in entry.iter():
            if part.tag.rsplit("}", 1)[-1] == "hash" and part.get("type", "").lower() == "md5":
                print(part.text.strip())
PYTHON
)
if [[ -z $expected ]]; then
  echo "fetch_uniref50: RELEASE.metalink names no MD5 for $file; look at $base" >&2
  exit 1
fi
if [[ ! -e $file ]]; then
  # The partial name keeps an unfinished download from being taken for the file.
  curl --fail --location --retry 20 --retry-delay 10 --continue-at - --output "$file.partial" "$base/$file"
  if [[ $(md5sum "$file.partial" | cut -d' ' -f1) != "$expected" ]]; then
    echo "fetch_uniref50: $folder/$file.partial does not have the MD5 $expected of the release: delete it and fetch again" >&2
    exit 1
  fi
  mv "$file.partial" "$file"
elif [[ $(md5sum "$file" | cut -d' ' -f1) != "$expected" ]]; then
  echo "fetch_uniref50: $folder/$file is not the file of this release (MD5 $expected): move it away and fetch again" >&2
  exit 1
fi
echo "$folder/$file is complete: MD5 $expected"
