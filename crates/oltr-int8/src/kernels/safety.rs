//! What kernels rely on where they are unsafe. Each name is a contract: a `# Safety` section demands it of callers, and a
//! comment `SAFETY: NAME` says that a block relies on what its function was promised under that name.
//!
//! - **BASELINE**: the instructions are part of the target (NEON on aarch64), and slices are as long as the vectors that are
//!   loaded from them and stored to them.
//! - **ENABLED**: the processor has the instructions, as a token of `isa` proves that reached the layer, and the function
//!   is compiled with them: it is inlined into one with `#[target_feature]`, or is one.
//! - **LANES_IN**, **LANES_OUT**: at the pointer lie as many elements as the vector has lanes (or the half or quarter of
//!   them that the method's name says) that may be read, or written. Where the method says *aligned*, the pointer is.
//! - **STEP_IN**: at the pointer lie the activations of a step, `STEP * ELEMENT` bytes.
//! - **WEIGHTS_IN**: at the pointer lie the weights of a step for one vector (x86-64) or of a block (ARM), as the set packs
//!   them, and aligned as the allocation of packed weights is.
//! - **CHANNELS_IN**, **CHANNELS_OUT**: at each pointer lie so many channels of one pixel as the count says (a block where
//!   there is no count); no other thread writes, or touches, them.
//! - **STRIP**: pointers of the strip are valid for what its sizes say. From the address of each pixel every step (x86-64)
//!   or chunk (ARM) of every run can be read; there are `vectors` vectors of weights for each step, and of biases; the
//!   target holds all pixels. Who makes a strip slices all of these from packed weights and checked buffers.
//! - **TILE**: STRIP, and the tile's pixels are among the strip's.
//! - **STREAM**: each row has its weights, the copy its activations, for all rows of the window; both begin on a whole
//!   vector.
//! - **ROWS_STRIP**: the strip of a depthwise layer: rows lie in the map or are as long as one of its rows, columns are held
//!   against the width before they are read, a pixel is read for no more channels than lie up to its end, and the
//!   destination holds all outputs.
//! - **SUMS**: lengths were held against each other where the safe function was entered.
//! - **PAIR_ROWS**: `rows` holds as many rows of `panel.len()` pairs as there are rows of sums.
//! - **WINDOW**: positions under the window lie in the map, whose pixels have room for whole vectors of channels.
//! - **TRANSFORM**: source and destination hold all positions of a tile for the channels that are transformed, with the line
//!   to spare that the sizes of scratch have.
