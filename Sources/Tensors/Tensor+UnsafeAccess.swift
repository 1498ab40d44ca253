extension Tensor {
  /// The address of the first element, the same for the whole life of the tensor.
  ///
  /// It does not keep the tensor alive; it is for kernels, which hold the tensor while they run.
  @unsafe
  public var unsafeBaseAddress: UnsafeMutablePointer<Element> {
    unsafe buffer.unsafeBaseAddress
  }
}
