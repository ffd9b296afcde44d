//! An input of the program that is read as f32 values.

use crate::layers::{Call, Extent, Input, Layer};
use crate::threads::Cut;

/// Copies an input. [`crate::Program::run`] refuses a picture for it.
#[derive(Debug)]
pub(crate) struct CopyInput(pub usize);

impl Layer for CopyInput {
    fn cut(&self, extent: Extent, _: usize) -> Cut {
        Cut::whole(extent.output)
    }

    fn compute(&self, call: Call) {
        if let Input::F32(values) = call.inputs[self.0] {
            bytemuck::cast_slice_mut::<u8, f32>(call.output).copy_from_slice(values);
        }
    }

    fn input(&self) -> Option<(usize, bool)> {
        Some((self.0, true))
    }
}
