public import CGyre
import Tensors

/// A tensor whose memory the caller has for as long as it likes.
private final class TensorOwner {
  let tensor: Tensor<Float>
  init(_ tensor: consuming Tensor<Float>) { self.tensor = tensor }
}

/// Looks at memory of the caller as a tensor, without a copy; it is read alone.
@unsafe
func borrowed(_ memory: UnsafePointer<Float>?, _ shape: Shape) -> Tensor<Float> {
  let bytes = unsafe UnsafeMutableRawBufferPointer(
    start: UnsafeMutableRawPointer(mutating: memory),
    count: memory == nil ? 0 : shape.elementCount * MemoryLayout<Float>.stride)
  return unsafe Tensor(shape: shape, buffer: AlignedBuffer(unowned: bytes))
}

/// Gives a tensor to the caller, without a copy.
@unsafe
func give(_ tensor: consuming Tensor<Float>, to place: UnsafeMutablePointer<gyre_tensor>?) {
  guard let place = unsafe place else { return }
  let owner = TensorOwner(tensor)
  unsafe place.pointee = gyre_tensor(
    data: owner.tensor.unsafeBaseAddress, count: Int64(owner.tensor.count),
    owner: Unmanaged.passRetained(owner).toOpaque())
}

/// Frees what a caller was given.
@c @implementation
public func gyre_tensor_free(_ tensor: UnsafeMutablePointer<gyre_tensor>?) {
  guard let tensor = unsafe tensor, let owner = unsafe tensor.pointee.owner else { return }
  unsafe Unmanaged<TensorOwner>.fromOpaque(owner).release()
  unsafe tensor.pointee = gyre_tensor()
}
