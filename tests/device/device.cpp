// The pretend accelerator's devices: memory, guards, streams that are always ready, events, generators, pinned memory.

#include "pretend.h"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/core/TensorBody.h>
#include <ATen/detail/PrivateUse1HooksInterface.h>
#include <c10/core/CachingDeviceAllocator.h>
#include <c10/core/DeviceGuard.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>

#include <array>
#include <cstdlib>
#include <map>
#include <mutex>

namespace pretend {
namespace {

thread_local c10::DeviceIndex current = 0;
std::array<std::atomic<int64_t>, kCounts> counts{};
std::atomic<bool> forbidden{false};
std::atomic<bool> narrow{false};

c10::DeviceIndex index_of(c10::Device device) {
  auto index = device.has_index() ? device.index() : current;
  TORCH_CHECK(index >= 0 && index < kDevices, "pretend error: there is no device ", static_cast<int>(index));
  return index;
}

struct Room {
  size_t bytes;
  c10::DeviceIndex index;
};

// Memory of the devices is the host's. Every device may be given a limit, beyond which it is out of memory.
class Memory final : public c10::DeviceAllocator {
 public:
  c10::DataPtr allocate(size_t bytes) override {
    auto index = current;
    void* data = nullptr;
    if (bytes > 0) {
      std::lock_guard<std::mutex> held(lock_);
      TORCH_CHECK_WITH(OutOfMemoryError, used_[index].current + int64_t(bytes) <= limit_[index],
          "pretend out of memory. Tried to allocate ", bytes, " bytes on device ", static_cast<int>(index), ".");
      data = std::aligned_alloc(64, (bytes + 63) / 64 * 64);
      rooms_[data] = {bytes, index};
      used_[index].increase(bytes);
    }
    return {data, data, &Memory::release, c10::Device(kType, index)};
  }
  c10::DeleterFnPtr raw_deleter() const override { return &Memory::release; }
  void copy_data(void* to, const void* from, size_t bytes) const override { default_copy_data(to, from, bytes); }
  bool initialized() override { return true; }
  void emptyCache(c10::MempoolId_t) override {}
  void recordStream(const c10::DataPtr&, c10::Stream) override {}
  c10::CachingDeviceAllocator::DeviceStats getDeviceStats(c10::DeviceIndex index) override {
    c10::CachingDeviceAllocator::DeviceStats stats;
    std::lock_guard<std::mutex> held(lock_);
    stats.allocated_bytes[0] = stats.reserved_bytes[0] = used_[index];
    return stats;
  }
  void resetAccumulatedStats(c10::DeviceIndex index) override { used_[index].reset_accumulated(); }
  void resetPeakStats(c10::DeviceIndex index) override { used_[index].reset_peak(); }
  std::pair<size_t, size_t> getMemoryInfo(c10::DeviceIndex index) override {
    return {size_t(limit_[index] - used_[index].current), size_t(limit_[index])};
  }
  void limit(c10::DeviceIndex index, int64_t bytes) { limit_[index] = bytes; }
  c10::Device owner(void* data) {
    std::lock_guard<std::mutex> held(lock_);
    auto found = rooms_.upper_bound(data);
    TORCH_CHECK(found != rooms_.begin(), "pretend error: not memory of a device");
    return {kType, std::prev(found)->second.index};
  }

 private:
  static void release(void* data);
  std::mutex lock_;
  std::map<void*, Room> rooms_;
  std::array<c10::CachingAllocator::Stat, kDevices> used_{};
  std::array<int64_t, kDevices> limit_{int64_t(1) << 40, int64_t(1) << 40};
};

Memory& memory() {
  static auto* one = new Memory();
  return *one;
}

void Memory::release(void* data) {
  if (data == nullptr) return;
  auto& all = memory();
  std::lock_guard<std::mutex> held(all.lock_);
  auto found = all.rooms_.find(data);
  all.used_[found->second.index].decrease(found->second.bytes);
  all.rooms_.erase(found);
  std::free(data);
}

// Host memory that copies may use while the program goes on.
class Pinned final : public c10::Allocator {
 public:
  c10::DataPtr allocate(size_t bytes) override {
    void* data = bytes > 0 ? std::aligned_alloc(64, (bytes + 63) / 64 * 64) : nullptr;
    if (data != nullptr) {
      std::lock_guard<std::mutex> held(lock_);
      rooms_[data] = bytes;
    }
    return {data, data, &Pinned::release, c10::Device(c10::kCPU)};
  }
  c10::DeleterFnPtr raw_deleter() const override { return &Pinned::release; }
  void copy_data(void* to, const void* from, size_t bytes) const override { default_copy_data(to, from, bytes); }
  bool owns(const void* data) {
    std::lock_guard<std::mutex> held(lock_);
    auto found = rooms_.upper_bound(data);
    if (found == rooms_.begin()) return false;
    --found;
    return static_cast<const char*>(data) < static_cast<const char*>(found->first) + found->second;
  }

 private:
  static void release(void* data);
  std::mutex lock_;
  std::map<const void*, size_t> rooms_;
};

Pinned& pinned_memory() {
  static auto* one = new Pinned();
  return *one;
}

void Pinned::release(void* data) {
  if (data == nullptr) return;
  auto& all = pinned_memory();
  std::lock_guard<std::mutex> held(all.lock_);
  all.rooms_.erase(data);
  std::free(data);
}

// One stream a device, on which everything is done at once. Only copies to and from pinned memory are left open.
struct Guard final : c10::impl::DeviceGuardImplInterface {
  c10::DeviceType type() const override { return kType; }
  c10::Device exchangeDevice(c10::Device device) const override {
    auto before = getDevice();
    setDevice(device);
    return before;
  }
  c10::Device getDevice() const override { return {kType, current}; }
  void setDevice(c10::Device device) const override { current = index_of(device); }
  void uncheckedSetDevice(c10::Device device) const noexcept override {
    if (device.has_index()) current = device.index();
  }
  c10::Stream getStream(c10::Device device) const override {
    return c10::Stream(c10::Stream::DEFAULT, c10::Device(kType, index_of(device)));
  }
  c10::Stream getDefaultStream(c10::Device device) const override { return getStream(device); }
  c10::Stream getStreamFromGlobalPool(c10::Device device, bool) const override { return getStream(device); }
  c10::Stream getNewStream(c10::Device device, int) const override { return getStream(device); }
  c10::Stream exchangeStream(c10::Stream stream) const override { return getStream(stream.device()); }
  c10::DeviceIndex deviceCount() const noexcept override { return kDevices; }
  bool queryStream(const c10::Stream&) const override { return true; }
  void synchronizeStream(const c10::Stream&) const override { wait("a stream"); }
  void synchronizeDevice(const c10::DeviceIndex) const override { wait("a device"); }
  void destroyEvent(void* event, const c10::DeviceIndex) const noexcept override {
    delete static_cast<int64_t*>(event);
  }
  void record(void** event, const c10::Stream&, const c10::DeviceIndex, const c10::EventFlag) const override {
    if (*event == nullptr) *event = new int64_t(0);
    *static_cast<int64_t*>(*event) = enqueued();
  }
  void block(void*, const c10::Stream&) const override {}
  bool queryEvent(void* event) const override {
    if (event != nullptr) settle(*static_cast<int64_t*>(event));
    return true;
  }
  void synchronizeEvent(void* event) const override {
    count(kSynchronise, "an event");
    if (event != nullptr) settle(*static_cast<int64_t*>(event));
  }
  double elapsedTime(void*, void*, const c10::DeviceIndex) const override { return 0.0; }

 private:
  static void wait(const char* what) {
    count(kSynchronise, what);
    settle();
  }
};

C10_REGISTER_GUARD_IMPL(PrivateUse1, Guard);

// Random numbers of a device: those of a CPU generator of its own.
struct Random final : c10::GeneratorImpl {
  Random(c10::DeviceIndex index, at::Generator host)
      : c10::GeneratorImpl(c10::Device(kType, index), c10::DispatchKeySet(c10::DispatchKey::PrivateUse1)),
        host(std::move(host)) {}
  void set_current_seed(uint64_t seed) override { host.set_current_seed(seed); }
  void set_offset(uint64_t) override { TORCH_CHECK(false, "pretend generators have no offset"); }
  uint64_t get_offset() const override { return 0; }
  uint64_t current_seed() const override { return host.current_seed(); }
  uint64_t seed() override { return host.seed(); }
  void set_state(const c10::TensorImpl& state) override { host.unsafeGetGeneratorImpl()->set_state(state); }
  c10::intrusive_ptr<c10::TensorImpl> get_state() const override {
    return host.unsafeGetGeneratorImpl()->get_state();
  }
  c10::GeneratorImpl* clone_impl() const override { return new Random(device().index(), host.clone()); }
  at::Generator host;
};

at::Generator new_generator(c10::DeviceIndex index) {
  return at::make_generator<Random>(index < 0 ? current : index, at::detail::createCPUGenerator());
}

struct Hooks final : at::PrivateUse1HooksInterface {
  bool isBuilt() const override { return true; }
  bool isAvailable() const override { return true; }
  bool hasPrimaryContext(c10::DeviceIndex) const override { return true; }
  c10::DeviceIndex deviceCount() const override { return kDevices; }
  void setCurrentDevice(c10::DeviceIndex index) const override { Guard().setDevice({kType, index}); }
  c10::DeviceIndex getCurrentDevice() const override { return current; }
  c10::DeviceIndex exchangeDevice(c10::DeviceIndex index) const override {
    return Guard().exchangeDevice({kType, index}).index();
  }
  c10::DeviceIndex maybeExchangeDevice(c10::DeviceIndex index) const override { return exchangeDevice(index); }
  const at::Generator& getDefaultGenerator(c10::DeviceIndex index) const override { return own_generator(index); }
  at::Generator getNewGenerator(c10::DeviceIndex index) const override { return new_generator(index); }
  at::Device getDeviceFromPtr(void* data) const override { return memory().owner(data); }
  bool isPinnedPtr(const void* data) const override { return pinned(data); }
  c10::Allocator* getPinnedMemoryAllocator() const override { return &pinned_memory(); }
};

// A copy that is not sure to have been done.
struct Open {
  int64_t mark;
  at::Tensor room;  // pinned memory, as a CPU tensor
  at::Tensor kept;  // what will lie there, or what lay there
  bool arrives;
};

struct Queue {
  std::mutex lock;
  std::vector<Open> open;
  int64_t mark = 0;
};

Queue& queue() {
  static auto* one = new Queue();
  return *one;
}

void close(Open& one) {
  if (one.arrives) {
    one.room.copy_(one.kept);
  } else if (!one.room.view(at::kByte).equal(one.kept.view(at::kByte))) {
    ++counts[kTooEarly];
  }
}

void enqueue(at::Tensor room, at::Tensor kept, bool arrives) {
  auto& all = queue();
  std::lock_guard<std::mutex> held(all.lock);
  all.open.push_back({++all.mark, std::move(room), std::move(kept), arrives});
}

}  // namespace

void count(Count what, const std::string& of) {
  ++counts[what];
  TORCH_CHECK(!(what < kWaits && forbidden), "waiting for the pretend device is forbidden here: ", of);
}

void check_type(c10::ScalarType dtype) {
  TORCH_CHECK_TYPE(!(narrow && dtype == c10::ScalarType::Double), "the pretend device has no float64");
}

c10::Allocator* allocator() { return &memory(); }

const at::Generator& own_generator(c10::DeviceIndex index) {
  static auto* all = new std::array<at::Generator, kDevices>{new_generator(0), new_generator(1)};
  return (*all)[index < 0 ? current : index];
}

at::Generator host_generator(const at::Generator& generator) {
  return static_cast<Random*>(generator.unsafeGetGeneratorImpl())->host;
}

bool pinned(const void* data) { return pinned_memory().owns(data); }

void later_to_host(const at::Tensor& from, const at::Tensor& to) {
  auto kept = from.to(to.scalar_type(), false, true);
  to.view(at::kByte).fill_(0xA5);  // until it arrives there is nothing of use
  enqueue(to, std::move(kept), true);
}

void later_to_device(const at::Tensor& from) { enqueue(from, from.clone(), false); }

int64_t enqueued() {
  std::lock_guard<std::mutex> held(queue().lock);
  return queue().mark;
}

void settle(int64_t mark) {
  auto& all = queue();
  std::vector<Open> done;
  {
    std::lock_guard<std::mutex> held(all.lock);
    auto last = all.open.begin();
    while (last != all.open.end() && (mark < 0 || last->mark <= mark)) ++last;
    done.assign(std::make_move_iterator(all.open.begin()), std::make_move_iterator(last));
    all.open.erase(all.open.begin(), last);
  }
  for (auto& one : done) close(one);
}

}  // namespace pretend

// For pretend.py, which calls these through ctypes.
extern "C" {
void pretend_register() {
  c10::SetAllocator(pretend::kType, &pretend::memory());
  at::RegisterPrivateUse1HooksInterface(new pretend::Hooks());
}
int64_t pretend_count(int what) { return pretend::counts[what]; }
void pretend_forbid(int on) { pretend::forbidden = on != 0; }
void pretend_narrow(int on) { pretend::narrow = on != 0; }
void pretend_limit(int index, int64_t bytes) { pretend::memory().limit(c10::DeviceIndex(index), bytes); }
}
