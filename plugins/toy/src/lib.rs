//! A small language on copatch: the tutorial's subject.
