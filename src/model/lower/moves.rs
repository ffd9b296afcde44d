//! Operators that put elements elsewhere, as steps along dimensions: Slice, a Gather of neighbours, DepthToSpace and back,
//! nearest Resize by whole factors.

use super::super::graph::{Graph, Node};
use super::super::shapes::{Shapes, slices, wrap};
use oltr_int8::Piece;

/// Places along a dimension of what a Resize repeats.
const MOST_PLACES: usize = 1 << 16;

/// The steps of a node and the element that comes first; `None` for what no steps say.
pub(super) fn of(graph: &Graph, shapes: &Shapes, node: &Node) -> Option<(Vec<Piece>, Vec<usize>)> {
    let x = shapes.get(node.input(0)?)?;
    let y = shapes.get(node.output())?;
    let mut start = vec![0; x.len()];
    let straight = |axis: usize, extent: usize| Piece { extent, from: Some((axis, 1)), to: (axis, 1) };
    let mut pieces: Vec<Piece> = x.iter().enumerate().map(|(axis, n)| straight(axis, *n)).collect();
    match node.op.as_str() {
        "Slice" => {
            for (axis, cut) in slices((&graph.consts, graph.opset), node, x)? {
                start[axis] = cut.start;
                // A step that is never taken can be any number.
                let step = if cut.count > 1 { usize::try_from(cut.step).ok()? } else { 1 };
                pieces[axis] = Piece { extent: cut.count, from: Some((axis, step)), to: (axis, 1) };
            }
        }
        "Gather" => {
            let axis = wrap(node.int("axis", 0), x.len()).filter(|axis| *axis < x.len())?;
            let constant = graph.consts.get(node.input(1)?)?;
            let indices: Option<Vec<usize>> = constant
                .integers()?
                .iter()
                .map(|i| usize::try_from(if *i < 0 { i + x[axis] as i64 } else { *i }).ok().filter(|i| *i < x[axis]))
                .collect();
            let indices = indices?;
            let first = *indices.first()?;
            let step = indices.get(1).map_or(Some(1), |second| second.checked_sub(first))?;
            if indices.iter().enumerate().any(|(i, index)| *index != first + i * step) {
                return None;
            }
            start[axis] = first;
            match constant.shape.len() {
                1 => pieces[axis] = Piece { extent: indices.len(), from: Some((axis, step)), to: (axis, 1) },
                // The dimension goes.
                0 => {
                    pieces.remove(axis);
                    for piece in pieces.iter_mut().filter(|p| p.to.0 > axis) {
                        piece.to.0 -= 1;
                    }
                }
                _ => return None,
            }
        }
        "DepthToSpace" => {
            let &[1, c, h, w] = &x[..] else { return None };
            let b = usize::try_from(node.int("blocksize", 0)).ok().filter(|b| *b > 0)?;
            let depth = c.checked_div(b.checked_mul(b)?)?;
            // Steps along the channels: of a channel of the result, of a row and of a column of a block.
            let steps = if node.text("mode") == "CRD" { [b * b, b, 1] } else { [1, b * depth, depth] };
            pieces = vec![
                Piece { extent: depth, from: Some((1, steps[0])), to: (1, 1) },
                Piece { extent: h, from: Some((2, 1)), to: (2, b) },
                Piece { extent: b, from: Some((1, steps[1])), to: (2, 1) },
                Piece { extent: w, from: Some((3, 1)), to: (3, b) },
                Piece { extent: b, from: Some((1, steps[2])), to: (3, 1) },
            ];
        }
        "SpaceToDepth" => {
            let &[1, c, h, w] = &x[..] else { return None };
            let b = usize::try_from(node.int("blocksize", 0)).ok().filter(|b| *b > 0)?;
            if node.text("mode") == "CRD" {
                return None;
            }
            pieces = vec![
                Piece { extent: b, from: Some((2, 1)), to: (1, b * c) },
                Piece { extent: b, from: Some((3, 1)), to: (1, c) },
                Piece { extent: c, from: Some((1, 1)), to: (1, 1) },
                Piece { extent: h.checked_div(b)?, from: Some((2, b)), to: (2, 1) },
                Piece { extent: w.checked_div(b)?, from: Some((3, b)), to: (3, 1) },
            ];
        }
        "Resize" => {
            let repeats = repeats(graph, node, x, y)?;
            for (axis, n) in repeats.into_iter().enumerate().filter(|(_, n)| *n > 1) {
                pieces[axis].to = (axis, n);
                pieces.push(Piece { extent: n, from: None, to: (axis, 1) });
            }
        }
        _ => return None,
    }
    Some((pieces, start))
}

/// How often a nearest Resize repeats each element along each dimension; `None` where it does anything else.
fn repeats(graph: &Graph, node: &Node, x: &[usize], y: &[usize]) -> Option<Vec<usize>> {
    if !matches!(node.text("mode"), "" | "nearest") || node.int("antialias", 0) != 0 {
        return None;
    }
    let scales = node.input(if graph.opset < 11 { 1 } else { 2 }).and_then(|name| graph.consts.get(name)?.as_f32());
    let old = graph.opset < 11;
    let transformation = match node.text("coordinate_transformation_mode") {
        _ if old => "asymmetric",
        "" => "half_pixel",
        given => given,
    };
    let rounding = match node.text("nearest_mode") {
        _ if old => "floor",
        "" => "round_prefer_floor",
        given => given,
    };
    let mut repeats = Vec::new();
    for (axis, (n, m)) in x.iter().zip(y).enumerate() {
        // Beyond the sides of any picture nothing is worth looking at each place.
        let times = m.checked_div(*n).filter(|times| times * n == *m && *m <= MOST_PLACES)?;
        // A scale that was given counts, not the one that sizes tell.
        if let Some(scales) = scales.as_deref().filter(|s| s.len() == x.len())
            && scales[axis] != times as f32
        {
            return None;
        }
        let source = |i: usize| {
            let (i, s) = (i as f64, times as f64);
            let at = match transformation {
                "asymmetric" => i / s,
                "half_pixel" | "half_pixel_symmetric" => (i + 0.5) / s - 0.5,
                "pytorch_half_pixel" if *m > 1 => (i + 0.5) / s - 0.5,
                _ => return None,
            };
            let at = match rounding {
                "floor" => at.floor(),
                "ceil" => at.ceil(),
                "round_prefer_floor" => (at - 0.5).ceil(),
                "round_prefer_ceil" => (at + 0.5).floor(),
                _ => return None,
            };
            Some(at.clamp(0.0, *n as f64 - 1.0) as usize)
        };
        if times > 1 && (0..*m).any(|i| source(i) != Some(i / times)) {
            return None;
        }
        repeats.push(times);
    }
    (repeats.len() == y.len()).then_some(repeats)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    use crate::model::graph::{Const, Values};

    #[test]
    fn a_resize_is_taken_only_where_it_repeats() {
        let mut graph = Graph { opset: 13, ..Graph::default() };
        graph.consts.insert("s".into(), Const::floats(&[4], vec![1.0, 1.0, 2.0, 3.0]));
        let node = Node::new("Resize", "", &["x", "", "s"], "y");
        assert_eq!(repeats(&graph, &node, &[1, 2, 3, 3], &[1, 2, 6, 9]), Some(vec![1, 1, 2, 3]));
        // Sizes that the scales do not give, and a factor that is not whole.
        assert_eq!(repeats(&graph, &node, &[1, 2, 3, 3], &[1, 2, 9, 9]), None);
        assert_eq!(repeats(&graph, &node, &[1, 2, 4, 3], &[1, 2, 6, 9]), None);
        // No picture is as wide, and each of its places would be looked at.
        graph.consts.insert("s".into(), Const::floats(&[4], vec![1.0, 1.0, 1.0, (1 << 27) as f32]));
        assert_eq!(repeats(&graph, &node, &[1, 1, 1, 1], &[1, 1, 1, 1 << 27]), None);
    }

    #[test]
    fn neighbours_are_gathered_by_steps() {
        let mut graph = Graph { opset: 13, ..Graph::default() };
        let shapes: Shapes = [("x".into(), vec![1, 6, 2]), ("y".into(), vec![1, 3, 2])].into();
        let mut gather = |indices: Vec<i64>| {
            let value = Const { shape: vec![indices.len()], values: Values::I64(indices) };
            graph.consts.insert("i".into(), Arc::new(value));
            of(&graph, &shapes, &Node::new("Gather", "", &["x", "i"], "y").with_int("axis", 1))
        };
        let (pieces, start) = gather(vec![1, 3, -1]).unwrap();
        assert_eq!((pieces[1].from, pieces[1].extent, start), (Some((1, 2)), 3, vec![0, 1, 0]));
        assert_eq!(gather(vec![0, 2, 3]), None);
    }
}
