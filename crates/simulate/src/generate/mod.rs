//! Sites to try a control plane with, shaped like published graphs of microservices.

mod files;
mod graph;

pub use graph::{App, Blueprint, GraphError, GraphWant};
