//! What ran, what it cost and what waits.

pub(crate) mod left_out;
