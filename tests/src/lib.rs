//! What the system tests share: the simulator with its invariants, real nodes as processes, and what drives them.

pub mod chaos;
pub mod clients;
pub mod differential;
pub mod figures;
pub mod hostile;
pub mod invariants;
pub mod load;
pub mod process;
pub mod resp;
pub mod results;
pub mod sim;
