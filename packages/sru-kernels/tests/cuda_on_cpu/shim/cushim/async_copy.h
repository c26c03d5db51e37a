#pragma once
#pragma GCC system_header

// cp.async, as late as hardware may be. The target holds NaN until its group is waited for. From then on the
// thread that waited sees the data, and the others see NaN until a barrier that both reach has completed.
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
    unsigned size, taken;              // the rest of the size is zeros
    unsigned char seen[kLargestCopy];  // by this thread, while another one runs

    bool overlaps(const Copy& other) const { return to < other.to + other.size && other.to < to + size; }
};

/// The copies of one thread.
class Copies {
 public:
    void issue(Copy copy) {
        memcpy(copy.seen, copy.from,
               copy.taken);  // a sanitizer reports a wrong address here, not at the wait
        memset(copy.to, 0xff, copy.size);
        CUSHIM_QUIET;
        drop_arrived(copy);
        open_.push_back(copy);
    }

    void commit() {
        CUSHIM_QUIET;
        groups_.push_back(std::exchange(open_, {}));
    }

    /// Until no more than the youngest `left` groups are on their way.
    void wait(unsigned left) {
        for (const Copy& copy : take_all_but(left)) {
            memset(copy.to, 0, copy.size);
            memcpy(copy.to, copy.from, copy.taken);
        }
    }

    /// Before another thread runs.
    void hide() {
        CUSHIM_QUIET;
        for (Copy& copy : arrived_) {
            memcpy(copy.seen, copy.to, copy.size);
            memset(copy.to, 0xff, copy.size);
        }
    }

    /// Before this thread runs again.
    void show() {
        CUSHIM_QUIET;
        for (auto copy = arrived_.rbegin(); copy != arrived_.rend(); ++copy)
            memcpy(copy->to, copy->seen, copy->size);
    }

    /// From now on all threads see what has arrived.
    void publish(bool is_hidden) {
        if (is_hidden) show();
        CUSHIM_QUIET;
        arrived_.clear();
    }

 private:
    /// Moves the groups that are due to what has arrived.
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
