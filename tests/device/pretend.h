// What the two halves of the pretend accelerator share: device.cpp (memory, devices, generators) and ops.cpp.
#pragma once

#include <ATen/core/Generator.h>
#include <ATen/core/Tensor.h>
#include <c10/core/Allocator.h>
#include <c10/core/Device.h>

namespace pretend {

constexpr c10::DeviceType kType = c10::DeviceType::PrivateUse1;
constexpr int kDevices = 2;

// Everything that pretend.py can count. The first few are waits: the host stands still until the device is done.
enum Count : int {
  kScalar,       // one number read: item(), tolist() of one, bool(), a branch
  kToHost,       // a copy to the host that is waited for
  kToDevice,     // a copy from the host that is waited for
  kAnswer,       // an operation whose result's shape, or which itself, is only known to the device: nonzero, equal
  kSynchronise,  // asked for in so many words: of a device, a stream or an event
  kWaits,        // how many of the above are waits
  kToHostLater = kWaits,  // a copy into pinned memory that is not waited for
  kToDeviceLater,         // a copy from pinned memory that is not waited for
  kAcross,                // a copy from one device to another one
  kTooEarly,              // pinned memory changed before what was copied from it was sure to have been read
  kCounts
};

void count(Count what, const std::string& of);  // throws where waits are forbidden and `what` is one

void check_type(c10::ScalarType dtype);  // throws for float64 where the devices are to have none

c10::Allocator* allocator();  // of the current device
const at::Generator& own_generator(c10::DeviceIndex index);
at::Generator host_generator(const at::Generator& generator);  // a pretend generator's numbers come from this one
bool pinned(const void* data);

at::Tensor host_view(const at::Tensor& tensor);  // the same memory as a CPU tensor

// Copies that are under way. What arrives in pinned memory is there only once it was waited for.
void later_to_host(const at::Tensor& from, const at::Tensor& to);
void later_to_device(const at::Tensor& from);
int64_t enqueued();           // a mark in the queue
void settle(int64_t mark = -1);  // everything up to the mark has been done; -1: everything

}  // namespace pretend
