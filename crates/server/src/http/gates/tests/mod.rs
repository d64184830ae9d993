//! Every endpoint has its line, and shows nobody more than he may see.

pub mod bed;
mod endpoints;
mod found;
mod groups;
mod grpc;
mod people;
mod planted;
mod queries;
mod shapes;
mod unseen;
