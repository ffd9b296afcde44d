//! Every bound of the library, each with its reason.

/// Limits that hold for any input.
///
/// All limits are strict: exceeding one is a defect of oltr. Reaching one is an [`Error::Limit`](crate::Error::Limit)
/// that names the field. The defaults suit a board with 512 MiB.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Bytes of a model file. A bundle is at most 8 MB; ResNet-152 in float is 240 MB.
    pub model_bytes: u64,
    /// Nodes of a graph. ResNet-152 with every tensor quantised has about 3 000.
    pub graph_nodes: usize,
    /// Inputs and outputs of a graph, each: networks have a handful.
    pub graph_ports: usize,
    /// Operators of a graph that no int8 program computes. A node with more than three inputs or more than one output
    /// counts more. ResNet-152 in float has some 500, the largest vision transformers some 3 000.
    pub float_nodes: usize,
    /// Operators outside int8 programs that read the same tensor: tract's loading time grows with the square of their
    /// number, two seconds for this many. Constants that tract shares count, such as the zero of all Relus.
    pub tensor_readers: usize,
    /// Fields of the protobuf outside tensor data; each can take two hundred bytes once decoded.
    pub graph_fields: u64,
    /// Elements of one tensor of a graph, constant or not: prevents the allocation of a hostile shape.
    pub tensor_elements: u64,
    /// Elements of tensors that are computed from constants, in addition to four times the elements of the file's
    /// constants. They are computed at load, and are all in memory for a while.
    pub constant_elements: u64,
    /// Known classes of a bundle.
    pub classes: usize,
    /// Bytes of one encoded photo; 108 megapixels take some 40 MB as JPEG.
    pub photo_bytes: u64,
    /// Pixels of one decoded photo or frame (width × height). Memory is allocated for the actual photo, not for this
    /// limit: 12 megapixels take 36 MB as RGB, 108 megapixels 324 MB, and as much again if they are rotated. For the
    /// decoder's own memory see [`Decoder`](crate::source::photo::Decoder).
    pub photo_pixels: u64,
    /// Length of a side of a photo or frame, in pixels.
    pub photo_side: u32,
    /// Bytes of one decoded frame of a stream; 3840×2160 takes 12.4 MB as `yuv420p`.
    pub frame_bytes: usize,
    /// Bytes of one encoded frame of a stream: a JPEG of 3840×2160 at the best quality takes some 4 MB.
    pub encoded_frame_bytes: usize,
    /// Photos that one command accepts, so that a wrong folder does not fill the memory with names.
    pub photos: usize,
    /// Frames in the queue before the network: more would only be older.
    pub queue_frames: usize,
    /// Frames that a consensus looks back on.
    pub consensus_frames: usize,
    /// Open events at the same time, one for each object in view.
    pub open_events: usize,
    /// Bytes of one line of output. A path of 4096 bytes takes up to six times as many in JSON, and three times as many
    /// again as a URL if it is not UTF-8.
    pub line_bytes: usize,
    /// Attempts in a row to open a source again that went away.
    pub retries: u32,
    /// Photos of a watched folder whose entries are in memory. Further entries are merged into the sorted part of the
    /// state file.
    pub watched_photos: usize,
    /// Bytes that may be allocated at run time, or `None` for no limit: by a session with its weights and buffers, or
    /// by a whole streaming program (`oltr::pipeline::memory::Plan`).
    pub memory_bytes: Option<u64>,
}

impl Limits {
    /// The most elements that may be computed from `own` elements of constants.
    pub fn computed_constants(&self, own: u64) -> u64 {
        own.saturating_mul(4).saturating_add(self.constant_elements)
    }

    /// The default limits with changes: `Limits::with(|limits| limits.photos = 100)`.
    pub fn with(change: impl FnOnce(&mut Limits)) -> Limits {
        let mut limits = Limits::default();
        change(&mut limits);
        limits
    }
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            model_bytes: 512 << 20,
            graph_nodes: 20_000,
            graph_ports: 1_000,
            float_nodes: 6_000,
            tensor_readers: 1_000,
            graph_fields: 1_000_000,
            tensor_elements: 1 << 28,
            constant_elements: 1 << 24,
            classes: 100_000,
            photo_bytes: 64 << 20,
            photo_pixels: 120_000_000,
            photo_side: 16_384,
            frame_bytes: 16 << 20,
            encoded_frame_bytes: 8 << 20,
            photos: 1_000_000,
            queue_frames: 16,
            consensus_frames: 64,
            open_events: 16,
            line_bytes: 40 << 10,
            retries: u32::MAX,
            watched_photos: 16_384,
            memory_bytes: None,
        }
    }
}
