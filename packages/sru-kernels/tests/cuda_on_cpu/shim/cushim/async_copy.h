#pragma once
#pragma GCC system_header

// cp.async that completes as late as hardware allows. The target holds NaN until its group is waited for.
// From then on the thread that waited sees the data, and other threads see NaN until a barrier of both has
// completed.
#include <cstdint>
#include <cstring>
#include <utility>
#include <vector>

#include "cushim/language.h"

namespace cushim {

constexpr unsigned kLargestCopy = 16;

struct Copy {
    unsigned char* to;
    const void* from;
    unsigned size, taken;              // bytes after `taken` are zeros
    unsigned char seen[kLargestCopy];  // this thread's view, saved while another thread runs

    bool overlaps(const Copy& other) const { return to < other.to + other.size && other.to < to + size; }
};

/// The copies of one thread.
class Copies {
 public:
    void issue(Copy copy) {
        memcpy(copy.seen, copy.from,
               copy.taken);  // makes a sanitizer report a wrong address here, not at the wait
        memset(copy.to, 0xff, copy.size);
        CUSHIM_QUIET;
        drop_arrived(copy);
        open_.push_back(copy);
    }

    void commit() {
        CUSHIM_QUIET;
        groups_.push_back(std::exchange(open_, {}));
    }

    /// Waits until at most the newest `left` groups are in flight.
    void wait(unsigned left) {
        for (const Copy& copy : take_all_but(left)) {
            memset(copy.to, 0, copy.size);
            memcpy(copy.to, copy.from, copy.taken);
        }
    }

    /// Called before another thread runs.
    void hide() {
        CUSHIM_QUIET;
        for (Copy& copy : arrived_) {
            memcpy(copy.seen, copy.to, copy.size);
            memset(copy.to, 0xff, copy.size);
        }
    }

    /// Called before this thread resumes.
    void show() {
        CUSHIM_QUIET;
        for (auto copy = arrived_.rbegin(); copy != arrived_.rend(); ++copy)
            memcpy(copy->to, copy->seen, copy->size);
    }

    /// Makes the arrived copies visible to all threads.
    void publish(bool is_hidden) {
        if (is_hidden) show();
        CUSHIM_QUIET;
        arrived_.clear();
    }

 private:
    /// Moves all but the newest `left` groups to the arrived copies and returns them.
    std::vector<Copy> take_all_but(unsigned left) {
        CUSHIM_QUIET;
        std::vector<Copy> due;
        while (groups_.size() > left) {
            for (const Copy& copy : groups_.front()) {
                drop_arrived(copy);
                arrived_.push_back(copy);
                due.push_back(copy);
            }
            groups_.erase(groups_.begin());
        }
        return due;
    }

    void drop_arrived(const Copy& by) {
        for (size_t i = arrived_.size(); i-- > 0;)
            if (arrived_[i].overlaps(by)) arrived_.erase(arrived_.begin() + i);
    }

    std::vector<Copy> open_, arrived_;
    std::vector<std::vector<Copy>> groups_;
};

}  // namespace cushim
