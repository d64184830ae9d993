//! Every endpoint has its line, and shows nobody more than he may see.

pub mod bed;
mod endpoints;
mod people;
mod queries;
mod unseen;
