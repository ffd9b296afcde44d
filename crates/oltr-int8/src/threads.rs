//! Threads that share the work of layers.
//!
//! A layer takes some tens of microseconds, a sleeping thread as long to wake: so workers spin while a frame is being
//! computed and sleep between frames. No thread is made per frame.
//!
//! Handing a layer over and learning of its end takes several transfers between caches of cores: about half a
//! microsecond, where some layers take five. So the workers are handed a whole segment of layers, its rounds, and each
//! thread goes through them by itself. A round's parts are dealt to the threads beforehand, neighbouring ones to one, so
//! that what a thread wrote in one layer is in its own cache when the next reads it. A thread claims its next part on a
//! cache line that it alone writes as a rule, and all that it ever waits for is that the rounds before are finished.
//! Layers that are not cut are one round together where they follow one another.
//!
//! Cores are not equally fast (another program, a neighbour on the same core, big and little ones), and on a busy machine
//! a thread may not get a core for milliseconds. So there are more parts than threads where parts stay large enough, and
//! a thread that has done its own claims parts that were dealt to others, the only one of another after a while:
//! no thread waits for a part that has not been begun. A thread that gets a core in the middle of a segment finds its parts of the
//! past rounds claimed and goes on to the current one.
//!
//! Rounds are numbered through all segments that a pool ever runs, by the parts that come before them. So a number
//! never comes again, and a claim that comes too late is recognised, whatever segment it was meant for.

mod pool;
mod schedule;
mod shared;
#[cfg(test)]
mod tests;
mod walk;

pub use pool::Pool;
pub use schedule::{Cut, Part, Schedule, Work};
