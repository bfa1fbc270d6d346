//! The level-1 simulator: a cluster of control machines and copies on one thread, from one seed.
//!
//! Everything that decides is the code of production: [`ring::control::Control`], [`ring::replica::Replica`], the
//! encoding of effects. The store is a model, links are queues, time does not exist. One step delivers one message,
//! lets one node look around, executes one command or does some damage: links break and lose what was on its way,
//! nodes crash and come back empty, stand still, join and leave, views differ from node to node. Each seed draws its
//! own mixture ([`Faults`]). Then everything heals, must converge, and must be still.
//!
//! Beside the real state each copy carries a *ghost*: the set of all effects it has incorporated. The invariants
//! compare what the copies claim with what their ghosts know.

mod clients;
mod damage;
mod delivery;
mod faults;
mod membership;
mod model;
mod mutation;
mod network;
mod node;
mod reports;
mod settle;
mod taking_in;
mod world;

pub use faults::Faults;
pub use model::{Ghost, Model, Writes};
pub use mutation::Mutation;
pub use node::{Asked, SimNode, Standing};
pub use world::{Counts, Run, Wait, World, Write};
