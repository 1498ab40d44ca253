import Compute
import Tensors

/// Gradients of tensors `[batch, tokens, heads, columns]` whose heads are shared by several: each
/// of these writes to rows of its own, which are added up afterwards.
struct SharedHeads {
  /// The gradients by name, with rows for all heads.
  let tensors: MixerTensors
  private let shared: [MixerTensor]

  /// - Parameters:
  ///   - gradients: those that are asked for; of those that no heads share, the same memory.
  ///   - heads: how many share.
  ///   - tokens: those of the rank.
  init(of gradients: MixerTensors, heads: Int, tokens: Int) {
    var tensors = MixerTensors()
    var shared: [MixerTensor] = []
    for (_, tensor) in gradients.all {
      if let form = Self.widened(tensor.form, heads: heads) {
        shared.append(tensors.addZeros(form, tokens: tokens))
      } else {
        tensors.add(tensor)
      }
    }
    (self.tensors, self.shared) = (tensors, shared)
  }

  /// Bytes of the rows beside the gradients that are asked for.
  static func bytes(of inputs: [TensorForm], heads: Int, tokens: Int) -> Double {
    inputs.reduce(0) { sum, form in
      let shape = widened(form, heads: heads)?.shape(tokens: tokens)
      return sum + 4 * Double(shape?.elementCount ?? 0)
    }
  }

  /// The form with all heads; nil if it has them.
  private static func widened(_ form: TensorForm, heads: Int) -> TensorForm? {
    guard form.dimensions.count == 4, form.tokenAxis == 1, form.sizes[2] < heads else { return nil }
    var sizes = form.sizes
    sizes[2] = heads
    return TensorForm(name: form.name, dimensions: form.dimensions, sizes: sizes)
  }

  /// Adds up what the heads that share a row have.
  func addUp(into gradients: MixerTensors, team: ThreadTeam) {
    for from in shared {
      let to = gradients[from.form.name]
      let columns = from.form.sizes[3]
      let group = from.form.sizes[2] / to.form.sizes[2]
      team.forEachPart(of: to.count / columns, cost: (group + 1) * columns) { part in
        for row in part {
          let (source, target) = unsafe (
            from.base + row * group * columns, to.base + row * columns
          )
          forEachVector(columns) { column in
            var sum = Vector.zero
            for member in 0..<group {
              sum += unsafe Vector(loading: source + member * columns, at: column, of: columns)
            }
            unsafe sum.store(to: target, at: column, of: columns)
          }
        }
      }
    }
  }
}
