//! The caller's side of Circlet: a client that knows the ring and sends each key straight to its owner.
//!
//! Nothing of it is written yet. Any Redis client works against any node meanwhile.
