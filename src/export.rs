//! Projections of facts: JSON report, table for people, Prometheus text.
