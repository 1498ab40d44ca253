package import Compute

extension ThreadTeam {
  /// `max(0, x)²` of numbers, in place.
  package func squarePositives(_ numbers: inout MutableSpan<Float>) {
    replace(&numbers, cost: 1) { x in
      let positive = Vector.zero.larger(x)
      return positive * positive
    }
  }

  /// `tanh x` of numbers, in place.
  package func applyTanh(_ numbers: inout MutableSpan<Float>) {
    replace(&numbers, cost: 4) { tanh($0) }
  }

  /// `−e^x` of numbers, in place: exponents of decays.
  package func makeExponents(_ numbers: inout MutableSpan<Float>) {
    replace(&numbers, cost: 4) { -exp($0) }
  }

  /// Halves numbers.
  package func halve(_ numbers: inout MutableSpan<Float>) {
    replace(&numbers, cost: 1) { $0 * Vector(repeating: 0.5) }
  }

  /// Replaces numbers by what `body` makes of eight of them.
  @inline(__always)
  private func replace(
    _ numbers: inout MutableSpan<Float>, cost: Int, _ body: @Sendable (Vector) -> Vector
  ) {
    unsafe numbers.withUnsafeMutableBufferPointer { numbers in
      guard let first = numbers.baseAddress else { return }
      nonisolated(unsafe) let base = unsafe first
      let count = numbers.count
      forEachPart(of: (count + 7) / 8, cost: 8 * cost) { part in
        for index in part {
          let x = unsafe Vector(loading: base, at: 8 * index, of: count)
          unsafe body(x).store(to: base, at: 8 * index, of: count)
        }
      }
    }
  }

  /// Adds `σ(gates) ∘ numbers`.
  package func addGated(
    _ numbers: borrowing Span<Float>, by gates: borrowing Span<Float>,
    to target: inout MutableSpan<Float>
  ) {
    let count = target.count
    precondition(numbers.count == count && gates.count == count, "as many numbers")
    unsafe target.withUnsafeMutableBufferPointer { target in
      unsafe numbers.withUnsafeBufferPointer { numbers in
        unsafe gates.withUnsafeBufferPointer { gates in
          guard let to = target.baseAddress, let from = numbers.baseAddress,
            let by = gates.baseAddress
          else { return }
          nonisolated(unsafe) let (sums, values, weights) = unsafe (to, from, by)
          forEachPart(of: (count + 7) / 8, cost: 16) { part in
            for index in part {
              let gate = unsafe sigmoid(Vector(loading: weights, at: 8 * index, of: count))
              let old = unsafe Vector(loading: sums, at: 8 * index, of: count)
              unsafe old.addingProduct(gate, Vector(loading: values, at: 8 * index, of: count))
                .store(to: sums, at: 8 * index, of: count)
            }
          }
        }
      }
    }
  }

  /// `weights ∘ x + bias` of each row, in place, and where there are gates that `∘ silu(gates)`.
  ///
  /// - Parameters:
  ///   - rows: `[rows, weights.count]`.
  ///   - bias: one for each column, or none.
  ///   - gates: as many as `rows`, or none.
  package func weigh(
    _ rows: inout MutableSpan<Float>, by weights: borrowing Span<Float>,
    bias: borrowing Span<Float>, gates: borrowing Span<Float>
  ) {
    let (count, width) = (rows.count, weights.count)
    precondition(
      count % width == 0 && (bias.isEmpty || bias.count == width)
        && (gates.isEmpty || gates.count == count), "other rows")
    unsafe rows.withUnsafeMutableBufferPointer { rows in
      unsafe weights.withUnsafeBufferPointer { weights in
        unsafe bias.withUnsafeBufferPointer { bias in
          unsafe gates.withUnsafeBufferPointer { gates in
            guard let first = rows.baseAddress, let by = weights.baseAddress else { return }
            nonisolated(unsafe) let (base, factors) = unsafe (first, by)
            nonisolated(unsafe) let addends = bias.isEmpty ? nil : bias.baseAddress
            nonisolated(unsafe) let openings = gates.isEmpty ? nil : gates.baseAddress
            forEachPart(of: count / width, cost: 4 * width) { part in
              for row in part {
                let start = row * width
                forEachVector(width) { column in
                  var x = unsafe Vector(loading: base + start, at: column, of: width)
                  unsafe x *= Vector(loading: factors, at: column, of: width)
                  if let addends = unsafe addends {
                    unsafe x += Vector(loading: addends, at: column, of: width)
                  }
                  if let openings = unsafe openings {
                    let gate = unsafe Vector(loading: openings + start, at: column, of: width)
                    x *= gate * sigmoid(gate)
                  }
                  unsafe x.store(to: base + start, at: column, of: width)
                }
              }
            }
          }
        }
      }
    }
  }
}
