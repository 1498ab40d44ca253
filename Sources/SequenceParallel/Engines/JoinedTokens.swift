import Attention
import Tensors

/// A tensor of the tokens of a shard that comes in parts: those of one parcel after the other.
struct JoinedTokens: ~Copyable {
  private let axis: Int
  private let shape: Shape
  private var whole: Tensor<Float>?

  /// - Parameters:
  ///   - shape: of the tensor.
  ///   - axis: that of the tokens.
  init(_ shape: Shape, axis: Int = 1) {
    self.shape = shape
    self.axis = axis
  }

  /// Puts in the part of some tokens; without a copy if it is all of them.
  mutating func put(_ part: consuming Tensor<Float>, at tokens: Range<Int>) {
    if part.shape == shape {
      whole = consume part
      return
    }
    let all = whole.take() ?? Tensor(zeros: shape)
    // Both outlive the copy.
    let (source, target) = unsafe (Piece(of: part), Piece(of: all))
    TensorPart(tokens: tokens, of: shape, axis: axis).scatter(from: source, to: target)
    whole = consume all
  }

  /// The tensor, of zeros where nothing was put.
  consuming func finish() -> Tensor<Float> { whole.take() ?? Tensor(zeros: shape) }
}

extension Tensor<Float> {
  /// A copy of some of the tokens.
  ///
  /// - Parameter axis: that of the tokens.
  func copy(ofTokens tokens: Range<Int>, axis: Int = 1) -> Tensor<Float> {
    let part = TensorPart(tokens: tokens, of: shape, axis: axis)
    var dimensions = shape.dimensions
    dimensions[axis] = tokens.count
    let copy = Tensor<Float>(zeros: Shape(dimensions))
    // Both outlive the copy.
    let (source, target) = unsafe (Piece(of: self), Piece(of: copy))
    part.gather(from: source, in: target)
    return copy
  }
}

extension QueryShard {
  /// A copy of some of the queries, with their positions.
  func copy(ofTokens tokens: Range<Int>, runs: [PositionRange]) -> QueryShard {
    QueryShard(tensor.copy(ofTokens: tokens), runs: runs)
  }
}
