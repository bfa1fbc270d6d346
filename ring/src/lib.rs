//! The decisions of the Circlet cache, without IO.
//!
//! Everything here is a pure value or a state machine: no clock, no socket, no thread, no file. Time and randomness
//! are arguments. That is what lets the simulator run a whole cluster on one thread from one seed.
#![no_std]

extern crate alloc;

pub mod boot;
pub mod codec;
pub mod context;
pub mod control;
pub mod describe;
pub mod dot;
pub mod effect;
pub mod facts;
pub mod fold;
pub mod hlc;
pub mod id;
pub mod lapse;
pub mod member;
pub mod plan;
pub mod replica;
pub mod slot;
pub mod slot_set;
pub mod suspicion;
pub mod table;
pub mod token;
pub mod verdict;
pub mod view;
