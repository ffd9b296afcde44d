//! Windows that slide over maps: what they yield, and where they begin.

use super::super::graph::Node;

/// Sizes of what a window yields that slides over a map of any number of dimensions.
pub(super) fn slid(node: &Node, kernel: &[usize], map: &[usize]) -> Option<Vec<usize>> {
    if kernel.len() != map.len() {
        return None;
    }
    if let ([_, _], [h, w]) = (kernel, map) {
        return Sliding::of(node, kernel)?.output([*h, *w]).map(|out| out.to_vec());
    }
    // One dimension at a time, beside one of a single place.
    let rank = kernel.len();
    let one = |i: usize| {
        let mut single = Node { attributes: node.attributes.clone(), ..Node::new(&node.op, "", &[], "") };
        for attribute in &mut single.attributes {
            let at = |k: usize| attribute.ints.get(k).copied();
            let ints = match attribute.name.as_str() {
                "strides" | "dilations" => vec![at(i)?, 1],
                "pads" => vec![at(i)?, 0, at(i + rank)?, 0],
                _ => continue,
            };
            attribute.ints = ints;
        }
        Some(Sliding::of(&single, &[kernel[i], 1])?.output([map[i], 1])?[0])
    };
    (0..rank).map(one).collect()
}

/// The window of a Conv or pool with its padding resolved.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::model) struct Sliding {
    pub kernel: [usize; 2],
    pub stride: [usize; 2],
    pub dilation: [usize; 2],
    /// top, left, bottom, right; unresolved for `auto_pad`
    pads: Option<[usize; 4]>,
    upper: bool,
    ceil: bool,
}

impl Sliding {
    /// [`Sliding::of`] over one dimension or two; one is a row.
    pub fn of_any(node: &Node, kernel: &[usize]) -> Option<Sliding> {
        let [width] = *kernel else { return Sliding::of(node, kernel) };
        let mut row = Node { attributes: node.attributes.clone(), ..Node::new(&node.op, "", &[], "") };
        for attribute in &mut row.attributes {
            attribute.ints = match (attribute.name.as_str(), &attribute.ints[..]) {
                ("strides" | "dilations", [step]) => vec![1, *step],
                ("pads", [before, behind]) => vec![0, *before, 0, *behind],
                _ => continue,
            };
        }
        Sliding::of(&row, &[1, width])
    }

    /// The window that the node's attributes describe, over two dimensions; `None` for what no window here has.
    pub fn of(node: &Node, kernel: &[usize]) -> Option<Sliding> {
        let [kh, kw] = *kernel else { return None };
        let pair = |name: &str| match node.ints(name) {
            None => Some([1, 1]),
            Some([a, b]) if *a > 0 && *b > 0 => Some([*a as usize, *b as usize]),
            _ => None,
        };
        let pads = match node.text("auto_pad") {
            "" | "NOTSET" => match node.ints("pads") {
                None => Some([0; 4]),
                Some([t, l, b, r]) if [t, l, b, r].iter().all(|p| **p >= 0) => {
                    Some([*t as usize, *l as usize, *b as usize, *r as usize])
                }
                _ => return None,
            },
            "VALID" => Some([0; 4]),
            "SAME_UPPER" | "SAME_LOWER" => None,
            _ => return None,
        };
        Some(Sliding {
            kernel: [kh, kw],
            stride: pair("strides")?,
            dilation: pair("dilations")?,
            pads,
            upper: node.text("auto_pad") != "SAME_LOWER",
            // For VALID, ONNX's formula comes to the same with and without.
            ceil: node.int("ceil_mode", 0) != 0 && node.text("auto_pad") != "VALID",
        })
    }

    fn extent(&self, i: usize) -> usize {
        self.kernel[i].saturating_sub(1).saturating_mul(self.dilation[i]).saturating_add(1)
    }

    /// Height and width of the output, at least 1 each.
    pub fn output(&self, input: [usize; 2]) -> Option<[usize; 2]> {
        if self.kernel.contains(&0) {
            return None;
        }
        let mut out = [0; 2];
        for i in 0..2 {
            out[i] = match self.pads {
                None => input[i].div_ceil(self.stride[i]),
                Some(pads) => {
                    let padded = input[i].checked_add(pads[i])?.checked_add(pads[i + 2])?;
                    let room = padded.checked_sub(self.extent(i))?;
                    let steps = if self.ceil { room.div_ceil(self.stride[i]) } else { room / self.stride[i] };
                    let mut n = steps.checked_add(1)?;
                    // A window that would begin beyond the input and its left padding does not count (ONNX MaxPool).
                    if self.ceil && (n - 1).saturating_mul(self.stride[i]) >= input[i] + pads[i] {
                        n -= 1;
                    }
                    n
                }
            };
        }
        Some(out)
    }

    /// Rows above and columns left of the map.
    pub fn lead(&self, input: [usize; 2]) -> Option<[usize; 2]> {
        if let Some(pads) = self.pads {
            return Some([pads[0], pads[1]]);
        }
        let output = self.output(input)?;
        let mut lead = [0; 2];
        for i in 0..2 {
            let covered = output[i].saturating_sub(1).saturating_mul(self.stride[i]).saturating_add(self.extent(i));
            let total = covered.saturating_sub(input[i]);
            lead[i] = if self.upper { total / 2 } else { total.div_ceil(2) };
        }
        Some(lead)
    }

    /// Whether any place outside the map is under a window, as the file pads it.
    pub fn is_padded(&self) -> bool {
        self.pads != Some([0; 4])
    }

    pub fn ceils(&self) -> bool {
        self.ceil
    }
}
