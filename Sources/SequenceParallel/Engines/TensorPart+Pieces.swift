import Tensors

extension Piece {
  /// The elements of a tensor, which has to outlive the piece and all copies of it.
  @unsafe
  init(of tensor: borrowing Tensor<Float>) {
    let count = tensor.shape.elementCount * MemoryLayout<Float>.stride
    unsafe self.init(
      unowned: UnsafeMutableRawBufferPointer(start: tensor.unsafeBaseAddress, count: count))
  }
}

extension TensorPart {
  /// Some tokens of a tensor in which all tokens of a sequence, or of a head of it, lie together.
  ///
  /// - Parameter axis: that of the tokens.
  init(tokens: Range<Int>, of shape: Shape, axis: Int) {
    let row = shape.stride(axis)
    self.init(
      start: tokens.lowerBound * row, width: tokens.count * row, stride: shape[axis] * row,
      count: shape.dimensions[..<axis].reduce(1, *))
  }

  /// The bytes of all its elements.
  var byteCount: Int { elementCount * MemoryLayout<Float>.stride }

  /// A dense part of a tensor.
  func piece(of tensor: Piece) -> Piece {
    let start = start * MemoryLayout<Float>.stride
    return tensor[start..<start + byteCount]
  }

  /// Gathers the part of a tensor in a message.
  func gather(from tensor: Piece, in message: Piece) {
    unsafe forEachStretch(of: tensor, in: message) { unsafe $1.update(from: $0, count: width) }
  }

  /// Puts what has come in a message into its part of a tensor.
  func scatter(from message: Piece, to tensor: Piece) {
    unsafe forEachStretch(of: tensor, in: message) { unsafe $0.update(from: $1, count: width) }
  }

  @unsafe
  private func forEachStretch(
    of tensor: Piece, in message: Piece,
    _ body: (_ inTensor: UnsafeMutablePointer<Float>, _ inMessage: UnsafeMutablePointer<Float>) ->
      Void
  ) {
    if elementCount == 0 { return }
    precondition(
      message.byteCount == byteCount
        && tensor.byteCount >= (start + (count - 1) * stride + width) * MemoryLayout<Float>.stride,
      "a message or a tensor of another size")
    let elements = unsafe tensor.unsafeBytes.assumingMemoryBound(to: Float.self).baseAddress
    let packed = unsafe message.unsafeBytes.assumingMemoryBound(to: Float.self).baseAddress
    guard let elements = unsafe elements, let packed = unsafe packed else { return }
    for index in 0..<count {
      unsafe body(elements + start + index * stride, packed + index * width)
    }
  }
}
