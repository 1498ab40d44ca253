import Attention
import Reporting
import Tensors

/// Whether three tensors are the queries, keys and values of one problem; each answer names the
/// files, the shapes and the remedy.
struct ShapeChecks {
  /// As they are in their files.
  let q: TensorSource
  let k: TensorSource
  let v: TensorSource
  let outputGradient: TensorSource?
  /// The order of their dimensions there.
  let layout: InputLayout

  /// The problem, if there is one.
  func shape() throws -> AttentionShape {
    if let complaint = complaint(layout) {
      let isOther = self.complaint(layout.other) == nil
      let hint =
        isOther
        ? ", or give --input-layout \(layout.other) if they are \(layout.other.dimensions)" : ""
      let files = Set([q.path, k.path, v.path]).sorted().map { "'\($0)'" }.joined(separator: ", ")
      throw UserError(
        "\(files): \(complaint.problem) (q \(q.shape), k \(k.shape), v \(v.shape)); "
          + "\(complaint.remedy)\(hint).")
    }
    let (q, k, v) = (layout.view(q).shape, layout.view(k).shape, layout.view(v).shape)
    if let outputGradient {
      let expected = layout.fileShape([q[0], q[1], q[2], v[3]])
      guard outputGradient.shape == expected else {
        throw UserError(
          "'\(outputGradient.path)': do is \(outputGradient.shape) and o will be \(expected); "
            + "give do the shape of o.")
      }
    }
    return AttentionShape(
      batch: q[0], queryHeads: q[2], kvHeads: k[2], headDim: q[3], valueHeadDim: v[3])
  }

  /// What is wrong with the tensors, taken in that order of dimensions; nil if nothing is.
  private func complaint(_ layout: InputLayout) -> (problem: String, remedy: String)? {
    let (q, k, v) = (layout.view(q).shape, layout.view(k).shape, layout.view(v).shape)
    if q[0] != k[0] || k[0] != v[0] {
      return ("the batch sizes differ", "make the first dimension of q, k and v the same")
    }
    if k[1] != v[1] {
      return ("k and v have different numbers of tokens", "give every key its value")
    }
    if k[2] != v[2] {
      return ("k and v have different numbers of heads", "give every KV head its values")
    }
    if q[3] != k[3] {
      return ("the head dims of q and k differ", "only v may have another head dim")
    }
    for (axis, what) in [(0, "batch"), (2, "heads"), (3, "head dim")] {
      if q[axis] == 0 || k[axis] == 0 || v[axis] == 0 {
        return ("there is a \(what) of 0", "only the number of tokens may be 0")
      }
    }
    if q[2] % k[2] != 0 {
      return (
        "\(k[2]) KV heads do not divide \(q[2]) query heads",
        "make the heads of q a multiple of the heads of k and v"
      )
    }
    if q[3] > AttentionShape.largestHeadDim {
      return (
        "the head dim of q and k is over \(AttentionShape.largestHeadDim)",
        "project q and k to fewer columns; a head that is split in two is another attention"
      )
    }
    if v[3] > AttentionShape.largestHeadDim {
      return (
        "the head dim of v is over \(AttentionShape.largestHeadDim)",
        "run once for each of some parts of the columns of v, and put those of o side by side"
      )
    }
    return nil
  }
}
