//! What several test programs share.

pub mod counting_allocator;
