#include "tests/support/backend.h"

namespace striate::test {

std::vector<Backend> backends() { return {Backend::cpu}; }

std::string to_string(Backend backend) {
  switch (backend) {
    case Backend::cpu:
      return "cpu";
  }
  return "unknown";
}

}  // namespace striate::test
