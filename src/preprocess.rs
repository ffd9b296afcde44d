//! Source geometry to model input.
