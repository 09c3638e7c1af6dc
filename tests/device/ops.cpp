// The pretend accelerator's operations: each is the CPU's own on the same memory, once it is sure that a real device
// would have taken the arguments.

#include "pretend.h"

#include <ATen/EmptyTensor.h>
#include <ATen/core/List.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/native/Resize.h>
#include <ATen/ops/_local_scalar_dense_native.h>
#include <ATen/ops/_reshape_alias_native.h>
#include <ATen/ops/as_strided_native.h>
#include <ATen/ops/convolution.h>
#include <ATen/ops/convolution_backward.h>
#include <ATen/ops/histc.h>
#include <ATen/ops/resize_native.h>
#include <ATen/ops/set_native.h>
#include <ATen/ops/unfold_native.h>
#include <ATen/ops/view_native.h>
#include <c10/core/DeviceGuard.h>
#include <c10/core/TensorImpl.h>
#include <torch/library.h>

namespace pretend {

at::Tensor host_view(const at::Tensor& tensor) {
  if (!tensor.defined() || tensor.device().type() != kType) return tensor;
  auto* data = const_cast<void*>(tensor.storage().data());
  c10::Storage storage(c10::Storage::use_byte_size_t(), tensor.storage().nbytes(),
      c10::DataPtr(data, c10::Device(c10::kCPU)), c10::GetAllocator(c10::kCPU), /*resizable=*/true);
  auto view = at::detail::make_tensor<c10::TensorImpl>(
      std::move(storage), c10::DispatchKeySet(c10::DispatchKey::CPU), tensor.dtype());
  view.unsafeGetTensorImpl()->set_sizes_and_strides(tensor.sizes(), tensor.strides(), tensor.storage_offset());
  if (tensor.unsafeGetTensorImpl()->is_wrapped_number()) view.unsafeGetTensorImpl()->set_wrapped_number(true);
  view._set_conj(tensor.is_conj());
  view._set_neg(tensor.is_neg());
  return view;
}

namespace {

using Devices = std::optional<c10::Device>;

at::Tensor empty(at::IntArrayRef size, std::optional<at::ScalarType> dtype, std::optional<at::Layout>,
    Devices device, std::optional<bool>, std::optional<at::MemoryFormat> format) {
  check_type(c10::dtype_or_default(dtype));
  c10::DeviceGuard there(device.value_or(c10::Device(kType)));
  return at::detail::empty_generic(
      size, allocator(), c10::DispatchKeySet(c10::DispatchKey::PrivateUse1), c10::dtype_or_default(dtype), format);
}

at::Tensor empty_strided(at::IntArrayRef size, at::IntArrayRef stride, std::optional<at::ScalarType> dtype,
    std::optional<at::Layout>, Devices device, std::optional<bool>) {
  check_type(c10::dtype_or_default(dtype));
  c10::DeviceGuard there(device.value_or(c10::Device(kType)));
  return at::detail::empty_strided_generic(
      size, stride, allocator(), c10::DispatchKeySet(c10::DispatchKey::PrivateUse1), c10::dtype_or_default(dtype));
}

// What the CPU has computed, on a device.
at::Tensor moved(const at::Tensor& tensor, c10::Device device) {
  if (!tensor.defined()) return tensor;
  auto there = empty_strided(tensor.sizes(), tensor.strides(), tensor.scalar_type(), {}, device, {});
  host_view(there).copy_(tensor);
  return there;
}

const at::Tensor& resize_(const at::Tensor& self, at::IntArrayRef size, std::optional<at::MemoryFormat> format) {
  c10::DeviceGuard there(self.device());
  return at::native::resize_(self, size, format);
}

at::Tensor& set_(at::Tensor& self) {
  c10::DeviceGuard there(self.device());
  c10::Storage none(c10::Storage::use_byte_size_t(), 0, allocator(), true);
  return self.set_(none, 0, {0}, {});
}

at::Tensor& set_storage_(
    at::Tensor& self, at::Storage source, int64_t offset, at::IntArrayRef size, at::IntArrayRef stride) {
  c10::DeviceGuard there(self.device());
  return at::native::set_storage_cpu_(self, std::move(source), offset, size, stride);
}

at::Tensor copy_from(const at::Tensor& self, const at::Tensor& to, bool non_blocking) {
  bool leaves = self.device().type() == kType, arrives = to.device().type() == kType;
  auto& room = leaves ? to : self;  // on the host, if any of the two is
  bool later = non_blocking && leaves != arrives && room.is_contiguous() && pinned(room.storage().data());
  if (later && leaves) {
    count(kToHostLater, "a copy to the host");
    later_to_host(host_view(self), to);
    return to;
  }
  if (leaves != arrives && !later && !(arrives && non_blocking)) {
    count(leaves ? kToHost : kToDevice, leaves ? "a copy to the host" : "a copy from the host");
    settle();
  }
  if (leaves && arrives && self.device() != to.device()) count(kAcross, "a copy to another device");
  host_view(to).copy_(host_view(self));
  if (arrives && !leaves && non_blocking) count(kToDeviceLater, "a copy from the host");
  if (later) later_to_device(self);
  return to;
}

at::Tensor copy_from_and_resize(const at::Tensor& self, const at::Tensor& to) {
  to.resize_(self.sizes());
  return copy_from(self, to, false);
}

at::Scalar local_scalar(const at::Tensor& self) {
  count(kScalar, "a number is read");
  settle();
  return at::native::_local_scalar_dense_cpu(host_view(self));
}

bool equal(const at::Tensor& self, const at::Tensor& other) {
  TORCH_CHECK(self.device() == other.device(), "Cannot compare two tensors on different devices. Got: ",
      self.device(), " and ", other.device());
  count(kAnswer, "aten::equal");
  settle();
  return host_view(self).equal(host_view(other));
}

// CUDA counts whole numbers too, the CPU does not.
at::Tensor histc(const at::Tensor& self, int64_t bins, const at::Scalar& low, const at::Scalar& high) {
  return moved(at::histc(host_view(self).to(at::kDouble), bins, low, high).to(self.scalar_type()), self.device());
}

// A backend that falls back has to bring its own convolution.
at::Tensor convolution(const at::Tensor& input, const at::Tensor& weight, const std::optional<at::Tensor>& bias,
    at::IntArrayRef stride, at::IntArrayRef padding, at::IntArrayRef dilation, bool transposed,
    at::IntArrayRef output_padding, int64_t groups) {
  TORCH_CHECK(input.device() == weight.device(), "Expected all tensors to be on the same device (convolution)");
  auto added = bias ? std::optional<at::Tensor>(host_view(*bias)) : std::nullopt;
  return moved(at::convolution(host_view(input), host_view(weight), added, stride, padding, dilation, transposed,
      output_padding, groups), input.device());
}

std::tuple<at::Tensor, at::Tensor, at::Tensor> convolution_backward(const at::Tensor& output, const at::Tensor& input,
    const at::Tensor& weight, at::IntArrayRef stride, at::IntArrayRef padding, at::IntArrayRef dilation,
    bool transposed, at::IntArrayRef output_padding, int64_t groups, std::array<bool, 3> wanted) {
  auto bias = weight.size(transposed ? 1 : 0) * (transposed ? groups : 1);
  auto found = at::convolution_backward(host_view(output), host_view(input), host_view(weight), at::IntArrayRef{bias},
      stride, padding, dilation, transposed, output_padding, groups, wanted);
  auto home = input.device();
  return {moved(std::get<0>(found), home), moved(std::get<1>(found), home), moved(std::get<2>(found), home)};
}

// Operations whose result has a shape that depends on the numbers: a real device is asked for it, and waited for.
bool shaped_by_numbers(const std::string& name) {
  static const std::set<std::string> names{"aten::nonzero", "aten::masked_select", "aten::_unique", "aten::_unique2",
      "aten::unique_dim", "aten::unique_consecutive", "aten::bincount", "aten::repeat_interleave"};
  return names.count(name) > 0;
}

// Their indices may come from the host, as on CUDA. (index itself takes them over before it comes here.)
bool puts(const std::string& name) { return name == "aten::index_put_" || name == "aten::_index_put_impl_"; }

// One call: its arguments are taken to the host, and what comes back is taken home again.
class Call {
 public:
  Call(const c10::OperatorHandle& op, torch::jit::Stack* stack)
      : op_(op), stack_(stack), name_(op.schema().name()), arguments_(op.schema().arguments()),
        begin_(stack->size() - arguments_.size()) {}

  void run() {
    for (size_t i = 0; i < arguments_.size(); ++i) look_at(arguments_[i], (*stack_)[begin_ + i]);
    if (home_ && !home_->has_index()) home_ = own_generator(-1).device();
    for (auto& one : alone_) fits(one);
    if (shaped_by_numbers(name_) || masked_) waits();
    for (size_t i = 0; i < arguments_.size(); ++i) to_host(arguments_[i], (*stack_)[begin_ + i]);
    op_.redispatchBoxed(c10::DispatchKeySet(c10::DispatchKey::CPU), stack_);
    for (auto& [original, view] : written_) write_back(original, view);
    const auto& returns = op_.schema().returns();
    for (size_t i = 0; i < returns.size(); ++i) to_home(returns[i], (*stack_)[stack_->size() - returns.size() + i]);
  }

 private:
  void waits() {
    count(kAnswer, name_);
    settle();
  }

  void look_at(const c10::Argument& argument, const c10::IValue& value) {
    bool written = argument.alias_info() != nullptr && argument.alias_info()->isWrite();
    auto look = [&](const at::Tensor& tensor) {
      if (!tensor.defined()) return;
      bool there = tensor.device().type() == kType;
      if (there && !home_) home_ = tensor.device();
      bool index = puts(name_) && argument.name() == "indices";
      if (index && there) masked_ |= tensor.scalar_type() == at::kBool || tensor.scalar_type() == at::kByte;
      if (index && !there) count(kToDevice, name_);
      if (there || !index) alone_.push_back({tensor, written});
    };
    if (value.isTensor()) look(value.toTensor());
    if (value.isTensorList()) for (const auto& one : value.toTensorVector()) look(one);
    if (value.isOptionalTensorList())
      for (const auto& one : value.toOptionalTensorVector()) if (one) look(*one);
    if (value.isDevice()) home_ = value.toDevice();
  }

  struct Seen {
    at::Tensor tensor;
    bool written;
  };

  void fits(const Seen& seen) const {
    if (seen.tensor.device().type() == kType ? seen.tensor.device() == *home_ : seen.tensor.dim() == 0 && !seen.written)
      return;
    TORCH_CHECK(false, "Expected all tensors to be on the same device, but found at least two devices, ", *home_,
        " and ", seen.tensor.device(), "! (", name_, ")");
  }

  at::Tensor host(const c10::Argument& argument, const at::Tensor& tensor) {
    auto view = host_view(tensor);
    if (tensor.defined() && argument.alias_info() != nullptr && argument.alias_info()->isWrite())
      written_.emplace_back(tensor, view);
    return view;
  }

  void to_host(const c10::Argument& argument, c10::IValue& value) {
    if (value.isTensor()) {
      value = host(argument, value.toTensor());
    } else if (value.isTensorList()) {
      c10::List<at::Tensor> all;
      for (const auto& one : value.toTensorVector()) all.push_back(host(argument, one));
      value = all;
    } else if (value.isOptionalTensorList()) {
      c10::List<std::optional<at::Tensor>> all;
      for (const auto& one : value.toOptionalTensorVector())
        all.push_back(one ? std::optional<at::Tensor>(host(argument, *one)) : std::nullopt);
      value = all;
    } else if (value.isDevice()) {
      value = c10::Device(c10::kCPU);
    } else if (argument.name() == "generator" && home_) {
      value = host_generator(generator_of(value));
    }
  }

  at::Generator generator_of(const c10::IValue& value) const {
    if (value.isNone()) return own_generator(home_->index());
    auto given = value.toGenerator();
    TORCH_CHECK(given.device().type() == kType, "Expected a '", c10::Device(kType).str(),
        "' device type for generator but found '", given.device().str(), "'");
    return given;
  }

  static void write_back(const at::Tensor& original, const at::Tensor& view) {
    if (original.sizes() == view.sizes() && original.storage().data() == view.storage().data()) return;
    original.resize_(view.sizes());
    host_view(original).copy_(view);
  }

  void to_home(const c10::Argument& result, c10::IValue& value) {
    bool written = result.alias_info() != nullptr && result.alias_info()->isWrite();
    TORCH_CHECK(written || result.alias_info() == nullptr, "pretend has no kernel for the view ", name_);
    if (value.isTensor()) {
      value = written ? original_of(value.toTensor()) : at_home(value.toTensor());
    } else if (value.isTensorList()) {
      c10::List<at::Tensor> all;
      for (const auto& one : value.toTensorVector()) all.push_back(written ? original_of(one) : at_home(one));
      value = all;
    } else {
      waits();  // a number or a truth value
    }
  }

  at::Tensor original_of(const at::Tensor& tensor) const {
    for (const auto& [original, view] : written_) if (view.is_same(tensor)) return original;
    TORCH_CHECK(false, "pretend cannot tell what ", name_, " gave back");
  }

  at::Tensor at_home(const at::Tensor& tensor) const { return home_ ? moved(tensor, *home_) : tensor; }

  const c10::OperatorHandle& op_;
  torch::jit::Stack* stack_;
  std::string name_;
  const std::vector<c10::Argument>& arguments_;
  size_t begin_;
  Devices home_;
  bool masked_ = false;
  std::vector<Seen> alone_;
  std::vector<std::pair<at::Tensor, at::Tensor>> written_;
};

void on_host(const c10::OperatorHandle& op, torch::jit::Stack* stack) { Call(op, stack).run(); }

}  // namespace
}  // namespace pretend

TORCH_LIBRARY_IMPL(_, PrivateUse1, m) { m.fallback(torch::CppFunction::makeFromBoxedFunction<&pretend::on_host>()); }

TORCH_LIBRARY_IMPL(aten, PrivateUse1, m) {
  m.impl("empty.memory_format", pretend::empty);
  m.impl("empty_strided", pretend::empty_strided);
  m.impl("resize_", pretend::resize_);
  m.impl("set_", pretend::set_);
  m.impl("set_.source_Storage_storage_offset", pretend::set_storage_);
  m.impl("_copy_from", pretend::copy_from);
  m.impl("_copy_from_and_resize", pretend::copy_from_and_resize);
  m.impl("_local_scalar_dense", pretend::local_scalar);
  m.impl("equal", pretend::equal);
  m.impl("histc", pretend::histc);
  m.impl("convolution_overrideable", pretend::convolution);
  m.impl("convolution_backward_overrideable", pretend::convolution_backward);
  m.impl("as_strided", at::native::as_strided_tensorimpl);
  m.impl("view", at::native::view);
  m.impl("_reshape_alias", at::native::_reshape_alias);
  m.impl("unfold", at::native::unfold);
}

TORCH_LIBRARY(pretend, m) {
  m.def("generator(int index) -> Generator?",
      [](int64_t index) { return pretend::own_generator(c10::DeviceIndex(index)); });
}
