static inline uint64_t i64_add(uint64_t a, uint64_t b) { return a + b; }
