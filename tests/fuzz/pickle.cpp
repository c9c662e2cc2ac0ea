// The pickle within a file of torch.save.
#include "models/weights/pickle.h"

#include "tests/fuzz/input.h"

namespace striate::fuzz {

void read_input(std::string_view input) {
  for (const models::PickledTensor& t : models::read_state_dict(input, "data.pkl")) {
    expect(t.shape.size() == t.strides.size() && t.storage_elements >= 0, "a stride for every axis");
    __extension__ __int128 last = t.offset, count = 1;
    for (size_t axis = 0; axis < t.shape.size(); ++axis) {
      expect(t.shape[axis] >= 0 && t.strides[axis] >= 0, "sizes and strides that are not negative");
      last += static_cast<__int128>(t.shape[axis] > 0 ? t.shape[axis] - 1 : 0) * t.strides[axis];
      count *= t.shape[axis];
      expect(count <= t.storage_elements || count == 0 || t.storage_elements == 0, "no more values than are stored");
    }
    expect(t.offset >= 0 && (count == 0 || last < t.storage_elements), "a view within its storage");
  }
}

}  // namespace striate::fuzz
