#pragma once

#include <string>
#include <utility>
#include <vector>

namespace striate {

/// The commit that was built: "0123456789ab", with " with changes" behind it where files differed from it.
const char* build_commit();

/// What stands in files of results, each a name and a text.
using Provenance = std::vector<std::pair<std::string, std::string>>;
/// Commit, version and compiler: all there is to say of results that are the same on every machine.
Provenance build_facts();
/// As lines of a CSV file's head: "# commit: …".
std::string comment_of(const Provenance& facts);

}  // namespace striate
