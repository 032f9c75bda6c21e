//! The way of spans out of the agent.
