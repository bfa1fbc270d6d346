//! The level-1 simulator: a cluster of control machines and copies on one thread, from one seed.
//!
//! Everything that decides is the code of production: [`ring::control::Control`], [`ring::replica::Replica`], the
//! encoding of effects. The store is a model, links are queues, time does not exist. One step delivers one message,
//! lets one node look around, executes one command or does some damage: links break and lose what was on its way, at
//! random, with a message of a certain kind, or one way only; nodes crash and come back empty, stand still, join and
//! leave, clocks jump, views differ from node to node. Each seed draws its own mixture ([`Faults`]). Then everything
//! heals, must converge, and must be still.
//!
//! Beside the real state each copy carries a *ghost*: the set of all effects it has incorporated. The invariants
//! compare what the copies claim with what their ghosts know, and what nodes do with what an [`Observer`] above the
//! cluster remembers: what was promised, who answered whom, which names were used.

mod aims;
mod clients;
mod counts;
mod damage;
mod delivery;
mod faults;
mod links;
mod membership;
mod model;
mod mutated;
mod mutation;
mod network;
mod node;
mod observer;
mod reports;
mod settle;
mod taking_in;
mod world;

pub use counts::Counts;
pub use faults::Faults;
pub use model::{Ghost, Model, Writes};
pub use mutation::Mutation;
pub use node::{Asked, SimNode, Standing};
pub use observer::{Answer, Ask, Observer};
pub use world::{Run, Wait, World, Write};
