/// What a feed-forward layer does to its hidden numbers.
public enum Activation: String, Hashable, Sendable {
  /// `x / (1 + e^−x)`.
  ///
  /// Source: Elfwing et al. 2018; as SwiGLU Shazeer 2020, GLU Variants Improve Transformer.
  case silu
  /// `x/2 · (1 + tanh(√(2/π) (x + 0.044715 x³)))`, the usual approximation.
  ///
  /// Source: Hendrycks and Gimpel 2016, Gaussian Error Linear Units.
  case gelu
  /// `x / (1 + e^−1.702 x)` of gates that are at most 7, times `1 +` the other numbers, which lie
  /// between −7 and 7.
  ///
  /// Source: OpenAI 2025, gpt-oss-120b & gpt-oss-20b Model Card, section 2, and its reference
  /// implementation.
  case clampedSilu

  /// Eight of them.
  @inlinable @inline(__always)
  func callAsFunction(_ x: Vector) -> Vector {
    switch self {
    case .silu:
      return x / (Vector(repeating: 1) + exp(-x))
    case .gelu:
      let cube = x * x * x
      let inner = x.addingProduct(cube, Vector(repeating: 0.044715))
      return x * 0.5 * (Vector(repeating: 1) + tanh(inner * 0.797_884_56))
    case .clampedSilu:
      let gate = x.replacing(with: 7, where: x .> 7)
      return gate / (Vector(repeating: 1) + exp(gate * -1.702))
    }
  }

  /// Eight numbers as activated gates multiply them.
  @inline(__always)
  private func gatedNumbers(_ up: Vector) -> Vector {
    if self != .clampedSilu { return up }
    return up.clamped(lowerBound: Vector(repeating: -7), upperBound: Vector(repeating: 7)) + 1
  }

  /// `f(gate) · up` of rows that have both, on all threads.
  ///
  /// - Parameters:
  ///   - rows: `[rows, 2 · width]`, gates first.
  ///   - width: numbers of a row of the result.
  ///   - target: `[rows, width]`.
  public func applyGated(
    _ rows: borrowing Span<Float>, width: Int, into target: inout MutableSpan<Float>,
    team: ThreadTeam
  ) {
    precondition(rows.count == 2 * target.count && target.count % width == 0, "other rows")
    unsafe rows.withUnsafeBufferPointer { rows in
      unsafe target.withUnsafeMutableBufferPointer { target in
        guard let from = rows.baseAddress, let to = target.baseAddress else { return }
        nonisolated(unsafe) let (source, result) = unsafe (from, to)
        team.forEachPart(of: target.count / width, cost: 6 * width) { part in
          for row in part {
            let (gates, ups) = unsafe (source + 2 * row * width, source + (2 * row + 1) * width)
            unsafe forEach(width, result + row * width) { column in
              unsafe self(Vector(loading: gates, at: column))
                * gatedNumbers(Vector(loading: ups, at: column))
            } last: { column in
              unsafe self(Vector(repeating: gates[column]))[0]
                * gatedNumbers(Vector(repeating: ups[column]))[0]
            }
          }
        }
      }
    }
  }

  /// `f(x)` where it lies, on all threads.
  public func apply(_ numbers: inout MutableSpan<Float>, team: ThreadTeam) {
    unsafe numbers.withUnsafeMutableBufferPointer { numbers in
      guard let base = numbers.baseAddress else { return }
      nonisolated(unsafe) let all = unsafe base
      team.forEachPart(of: numbers.count, cost: 4) { part in
        let start = unsafe all + part.lowerBound
        unsafe forEach(part.count, start) { column in
          unsafe self(Vector(loading: UnsafePointer(start), at: column))
        } last: { column in
          unsafe self(Vector(repeating: start[column]))[0]
        }
      }
    }
  }

  @unsafe @inline(__always)
  private func forEach(
    _ count: Int, _ target: UnsafeMutablePointer<Float>, _ body: (Int) -> Vector,
    last: (Int) -> Float
  ) {
    var column = 0
    while column + 8 <= count {
      unsafe body(column).store(to: target, at: column)
      column += 8
    }
    while column < count {
      unsafe target[column] = last(column)
      column += 1
    }
  }
}
