//! From losses and delays to an opinion score: E-model, burstiness, de-jitter buffers (MEAS 3, 4, 6.3).
