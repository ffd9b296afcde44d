//! Running a program: its buffers, and the threads that share the work.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::error::{Error, Result};
use crate::layers::{Call, Input};
use crate::plan;
use crate::program::agenda::{Agenda, Entry};
use crate::program::steps::{Program, Step, Work};
use crate::threads::{Part, Pool};

/// Threads that any number of states share, one run at a time.
#[derive(Clone, Debug)]
pub struct Threads(Arc<Mutex<Pool>>);

impl Threads {
    /// So many, the caller's own among them; at least that.
    pub fn new(count: usize) -> Threads {
        Threads(Arc::new(Mutex::new(Pool::new(count))))
    }

    fn lock(&self) -> MutexGuard<'_, Pool> {
        // A layer that panicked left nothing half done in the pool: it waits for all its threads.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The buffers of one run at a time.
#[derive(Debug)]
pub struct State {
    memory: Vec<u8>,
    /// Bytes before the first aligned one.
    skip: usize,
    threads: Threads,
    /// How the threads go about it.
    agenda: Option<Arc<Agenda>>,
    /// Nanoseconds of each layer in the last run; empty unless asked for.
    pub times: Vec<u64>,
}

impl Clone for State {
    fn clone(&self) -> State {
        State::new(self.memory.len(), self.threads.clone(), self.agenda.clone())
    }
}

impl State {
    /// Zeroed memory; the aligned part begins after `skip` bytes, which differs from one allocation to the next.
    pub(crate) fn new(bytes: usize, threads: Threads, agenda: Option<Arc<Agenda>>) -> State {
        let memory = vec![0u8; bytes];
        let skip = memory.as_ptr().align_offset(plan::ALIGN).min(plan::ALIGN);
        State { memory, skip, threads, agenda, times: Vec::new() }
    }

    /// Arena, and scratch of all threads.
    pub(crate) fn parts(&mut self, program: &Program) -> (&mut [u8], &mut [u8]) {
        self.memory[self.skip..].split_at_mut(program.arena_bytes())
    }

    /// Lets `threads` do the work from now on: at most as many as the state was made for take part.
    pub fn set_threads(&mut self, threads: Threads) {
        self.threads = threads;
    }
}

impl Program {
    /// Bytes beside the arena in a [`State`] for this many threads: what kernels work in, what aligning takes, and how the
    /// threads go about it.
    pub fn scratch_bytes(&self, threads: usize) -> usize {
        self.room(threads) + Agenda::new(self, threads, false).bytes()
    }

    /// Bytes that kernels of so many threads work in, and what aligning takes.
    fn room(&self, threads: usize) -> usize {
        threads * self.scratch + plan::ALIGN
    }

    /// Buffers for this program, with room for this many threads; only the caller's own works until it is given
    /// others ([`State::set_threads`]).
    pub fn state(&self, threads: usize) -> State {
        State::new(self.arena + self.room(threads), Threads::new(1), Some(Arc::new(Agenda::new(self, threads, false))))
    }

    /// Whether a layer reads an input as f32 values.
    fn reads_f32(&self, input: usize) -> bool {
        self.steps.iter().any(|step| step.work.input() == Some((input, true)))
    }

    /// Runs the program; `inputs` and `outputs` in the order of [`Program::inputs`] and [`Program::outputs`].
    ///
    /// # Errors
    /// [`Error::BadInput`] where a length does not fit.
    pub fn run(&self, state: &mut State, inputs: &[Input], outputs: &mut [&mut [f32]]) -> Result<()> {
        self.check(inputs, outputs)?;
        let timed = !state.times.is_empty();
        let threads = state.threads.clone();
        let mut pool = threads.lock();
        let agenda = self.agenda(state, pool.threads(), timed);
        for entry in &agenda.entries {
            let start = timed.then(Instant::now);
            let first = match entry {
                Entry::Step(index) => {
                    self.run_alone(&self.steps[*index], state.parts(self).0, outputs);
                    *index
                }
                Entry::Segment { segment, first } => {
                    let (arena, scratch) = state.parts(self);
                    let compute = |work: usize, part, out: &mut [u8], reads: [&[u8]; 2], scratch: &mut [u8]| {
                        self.compute(&self.steps[agenda.steps[work]], inputs, part, out, reads, scratch)
                    };
                    pool.run_segment(&agenda.schedule, *segment, arena, scratch, compute);
                    *first
                }
            };
            if let Some(start) = start {
                state.times[first] = start.elapsed().as_nanos() as u64;
            }
        }
        Ok(())
    }

    /// Computes a part of a layer; `out` is what it writes.
    fn compute(
        &self,
        step: &Step,
        inputs: &[Input],
        part: Part,
        output: &mut [u8],
        reads: [&[u8]; 2],
        scratch: &mut [u8],
    ) {
        if let Work::Layer(layer) = &step.work {
            let operand = |i: usize| step.reads.get(i).and_then(|id| self.constant(*id)).unwrap_or(reads[i]);
            let operands = [operand(0), operand(1)];
            layer.compute(Call { kernels: self.kernels, inputs, part, operands, output, scratch });
        }
    }

    /// Runs a step that threads do not share.
    fn run_alone(&self, step: &Step, arena: &mut [u8], outputs: &mut [&mut [f32]]) {
        match (&step.work, step.writes) {
            (Work::Concat(concat), Some(written)) => {
                let write = self.range(written);
                for (copy, part) in concat.0.iter().zip(&step.reads) {
                    match self.constant(*part) {
                        Some(part) => copy.run(part, &mut arena[write.clone()]),
                        None => {
                            let [out, part] = arena
                                .get_disjoint_mut([write.clone(), self.range(*part)])
                                .expect("the plan keeps tensors that live together apart");
                            copy.run(part, out);
                        }
                    }
                }
            }
            (Work::Output(output), _) => {
                let x = step.reads[0];
                let bytes = self.constant(x).unwrap_or(&arena[self.range(x)]);
                output.run(self.kernels, &self.tensors[x.0], bytes, outputs[output.output]);
            }
            _ => {}
        }
    }

    /// How `threads` threads, or as many as the state has room for, go about it; made anew only where that changes.
    fn agenda(&self, state: &mut State, threads: usize, apart: bool) -> Arc<Agenda> {
        let scratch = state.parts(self).1.len();
        let threads = scratch.checked_div(self.scratch).map_or(threads, |room| threads.min(room)).max(1);
        match &state.agenda {
            Some(agenda) if agenda.schedule.threads() == threads && agenda.apart == apart => agenda.clone(),
            _ => state.agenda.insert(Arc::new(Agenda::new(self, threads, apart))).clone(),
        }
    }

    fn check(&self, inputs: &[Input], outputs: &[&mut [f32]]) -> Result<()> {
        let bad = |what: &str, i: usize, given: usize, shape: &[usize]| Error::BadInput {
            subject: format!("program {what} {i}"),
            reason: format!("has {given} elements, its shape is {shape:?}"),
        };
        for (i, shape) in self.inputs.iter().enumerate() {
            let given = match inputs.get(i) {
                Some(Input::F32(n)) => n.len(),
                Some(Input::Pixels(p, _)) => p.len(),
                None => 0,
            };
            if given != shape.iter().product::<usize>() {
                return Err(bad("input", i, given, shape));
            }
            if matches!(inputs[i], Input::Pixels(..)) && self.reads_f32(i) {
                return Err(Error::BadInput {
                    subject: format!("program input {i}"),
                    reason: "is read as f32 values, a picture was given".into(),
                });
            }
        }
        for (i, shape) in self.outputs.iter().enumerate() {
            let given = outputs.get(i).map_or(0, |o| o.len());
            if given != shape.iter().product::<usize>() {
                return Err(bad("output", i, given, shape));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::float::Function;
    use crate::kernels::{available, best};
    use crate::layers::elementwise::Binary;
    use crate::program::build::Builder;
    use crate::program::float::Matrix;
    use crate::quant::Quant;

    const PLANE: [usize; 4] = [1, 160, 15, 15];

    /// Every layer that is cut by something other than the pixels of a convolution.
    fn program() -> Program {
        let q = |scale: f32| Quant { scale, zero_point: 119 };
        let mut b = Builder::new(best());
        let x = b.quantise(&PLANE, q(0.02));
        let mask = b.quantise(&[1, 1, 15, 15], q(0.01));
        let product = b.binary(Binary::Mul, x, mask, &PLANE, q(0.01), (0, 255)).unwrap();
        let sum = b.binary(Binary::Add, x, product, &PLANE, q(0.03), (3, 250)).unwrap();
        let rows = b.reshape(sum, &[1, 160, 225], None).unwrap();
        let columns = b.reshape(rows, &[1, 225, 160], Some(&[0, 2, 1])).unwrap();
        let doubled = b.binary(Binary::Mul, columns, columns, &[1, 225, 160], q(0.05), (0, 255)).unwrap();
        let scores = b.matmul(doubled, rows, [225, 160, 225], &[1, 225, 225], q(0.5), (0, 255)).unwrap();
        let shares = b.softmax(scores, q(0.004)).unwrap();
        let f32_values = b.to_f32(columns);
        let planes = b.to_f32(rows);
        let products = b.float_matmul([f32_values, planes], [225, 160, 225], &[1, 225, 225]).unwrap();
        let float_shares = b.float_softmax(products, &[1, 225, 225]).unwrap();
        let bytes = b.to_bytes(planes, &PLANE, q(0.07)).unwrap();
        let first = b.f32_values(&[1, 225], (0..225u8).map(f32::from).collect());
        let distances = b.distances(first, planes, &[160]).unwrap();
        let weights: Vec<f32> = (0..160 * 200).map(|i| (i % 13) as f32 - 6.0).collect();
        let weights = Matrix { at: &|place| weights[place], count: weights.len(), strides: [200, 1] };
        let dense = b.dense(distances, [1, 160, 200], &weights, None, &[1, 200]).unwrap();
        for output in [sum, shares, float_shares, bytes, dense] {
            b.output(output);
        }
        b.finish()
    }

    #[test]
    fn threads_change_no_result() {
        let program = program();
        let volume: usize = PLANE.iter().product();
        let image: Vec<f32> = (0..volume).map(|i| ((i * 37 + i / 9) % 501) as f32 / 100.0 - 2.5).collect();
        let inputs = [Input::F32(&image), Input::F32(&image[..225])];
        let run = |threads: usize| {
            let mut state = program.state(threads);
            state.set_threads(Threads::new(threads));
            let mut outputs: Vec<Vec<f32>> = program.outputs().iter().map(|s| vec![-1.0; s.iter().product()]).collect();
            let mut views: Vec<&mut [f32]> = outputs.iter_mut().map(Vec::as_mut_slice).collect();
            program.run(&mut state, &inputs, &mut views).unwrap();
            outputs
        };
        let wanted = run(1);
        assert!(wanted.iter().all(|output| output.iter().any(|x| *x != output[0])), "something is computed");
        for threads in [2, 3, 5] {
            // Products and panels, softmaxes, sum and products of bytes, numbers that are quantised, distances, dense.
            let agenda = Agenda::new(&program, threads, false);
            let rounds = agenda.schedule.segment(0);
            let shared = rounds.filter(|round| agenda.schedule.parts(*round) > 1).count();
            assert!(shared >= 12, "{shared} rounds are cut");
            for _ in 0..20 {
                assert_eq!(run(threads), wanted, "{threads} threads");
            }
        }
    }

    #[test]
    fn tensors_without_elements_take_no_part() {
        // The scalar set too: it serves where no other does, as on 32-bit ARM.
        for set in available() {
            let mut b = Builder::new(set);
            let x = b.input(&[2, 3]);
            let nothing = b.input(&[0, 3]);
            let shares = b.float_softmax(nothing, &[0, 3]).unwrap();
            let bytes = b.to_bytes(shares, &[0, 3], Quant { scale: 0.1, zero_point: 0 }).unwrap();
            let negative = b.function("neg", x, Function::Neg, &[2, 3]).unwrap();
            b.output(bytes);
            b.output(negative);
            let program = b.finish();
            for threads in [1, 2] {
                let mut state = program.state(threads);
                state.set_threads(Threads::new(threads));
                let mut f32_values = [0.0; 6];
                let inputs = [Input::F32(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]), Input::F32(&[])];
                program.run(&mut state, &inputs, &mut [&mut [], &mut f32_values]).unwrap();
                assert_eq!(f32_values, [-1.0, -2.0, -3.0, -4.0, -5.0, -6.0]);
            }
        }
    }
}
