//! The simulation, held to what it promises.
