//! Where frames come from. Every source hands batches of frames to the same observer.

use crate::wire::Frame;

/// Receives frames in capture order, in batches of any size; the result must not depend on the size.
pub type Take<'t> = dyn FnMut(&[Frame<'_>]) + 't;
