import Attention
import Compute
import Tensors

/// The rows of a rank in the order of a caller, and in that in which they are computed: tokens that
/// see alike next to each other, where a window has gaps.
struct RowOrder {
  /// For each row that is computed, its index among the caller's.
  private let places: [Int]
  private let team: ThreadTeam

  /// - Parameters:
  ///   - given: where the caller's rows stand.
  ///   - computed: the same positions in the other order.
  init(given: [PositionRange], computed: [PositionRange], team: ThreadTeam) {
    let indices = Dictionary(
      uniqueKeysWithValues: given.joined().enumerated().map { ($0.element, $0.offset) })
    places = computed.joined().map { position in
      guard let index = indices[position] else { preconditionFailure("other positions") }
      return index
    }
    self.team = team
  }

  /// The rows as they are computed, of those that a caller has.
  ///
  /// - Parameter axis: which dimension is that of tokens.
  func computed(_ given: borrowing Tensor<Float>, axis: Int = 1) -> Tensor<Float> {
    moved(given, axis) { (from: places[$0], to: $0) }
  }

  /// The rows of a caller, of those that were computed.
  func given(_ computed: borrowing Tensor<Float>, axis: Int = 1) -> Tensor<Float> {
    moved(computed, axis) { (from: $0, to: places[$0]) }
  }

  private func moved(
    _ tensor: borrowing Tensor<Float>, _ axis: Int,
    _ way: @Sendable (_ row: Int) -> (from: Int, to: Int)
  ) -> Tensor<Float> {
    let shape = tensor.shape
    let target = Tensor<Float>(zeros: shape)
    let (rows, width) = (places.count, shape.stride(axis))
    let outer = shape.dimensions[..<axis].reduce(1, *)
    nonisolated(unsafe) let source = unsafe tensor.unsafeBaseAddress
    nonisolated(unsafe) let numbers = unsafe target.unsafeBaseAddress
    team.forEachPart(of: outer * rows, cost: width) { part in
      for index in part {
        let (block, row) = index.quotientAndRemainder(dividingBy: rows)
        let (from, to) = way(row)
        unsafe (numbers + (block * rows + to) * width).update(
          from: source + (block * rows + from) * width, count: width)
      }
    }
    return target
  }
}
