public import CGyre
import Glibc
import Mixers
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
    owner: Unmanaged<AnyObject>.passRetained(owner).toOpaque())
}

/// Gives what an object has, which lives as long as the caller likes.
@unsafe
func give(_ tensor: MixerTensor, to place: UnsafeMutablePointer<gyre_tensor>?) {
  unsafe place?.pointee = gyre_tensor(
    data: tensor.base, count: Int64(tensor.count),
    owner: Unmanaged<AnyObject>.passRetained(tensor).toOpaque())
}

/// Frees what a caller was given.
@c @implementation
public func gyre_tensor_free(_ tensor: UnsafeMutablePointer<gyre_tensor>?) {
  guard let tensor = unsafe tensor, let owner = unsafe tensor.pointee.owner else { return }
  unsafe Unmanaged<AnyObject>.fromOpaque(owner).release()
  unsafe tensor.pointee = gyre_tensor()
}

/// Names of tensors, which stay where they are: there are as many as operators have.
@safe private enum TensorNames {
  // Touched by whoever has the library's turn.
  nonisolated(unsafe) private static var known: [String: UnsafePointer<CChar>] = unsafe [:]

  @unsafe
  static func place(of name: String) -> UnsafePointer<CChar>? {
    if let place = unsafe known[name] { return unsafe place }
    let place = unsafe UnsafePointer(strdup(name))
    unsafe known[name] = place
    return unsafe place
  }
}

extension gyre_named_tensor {
  /// The sizes of the dimensions that there are.
  var sizesArray: [Int] {
    unsafe withUnsafeBytes(of: self.sizes) { bytes in
      let all = unsafe bytes.bindMemory(to: Int64.self)
      let count = unsafe max(0, min(Int(dimensions), all.count))
      return (0..<count).map { unsafe Int(all[$0]) }
    }
  }

  /// A tensor for the caller, without a copy.
  @unsafe
  init(of tensor: MixerTensor) {
    unsafe self.init()
    unsafe name = TensorNames.place(of: tensor.form.name)
    unsafe data = tensor.base
    let shape = tensor.shape
    unsafe dimensions = Int32(shape.rank)
    unsafe withUnsafeMutableBytes(of: &sizes) { bytes in
      let all = unsafe bytes.bindMemory(to: Int64.self)
      for (index, size) in shape.dimensions.enumerated() { unsafe all[index] = Int64(size) }
    }
    unsafe owner = Unmanaged<AnyObject>.passRetained(tensor).toOpaque()
  }
}

/// Frees what a caller was given.
@c @implementation
public func gyre_named_tensor_free(_ tensor: UnsafeMutablePointer<gyre_named_tensor>?) {
  guard let tensor = unsafe tensor, let owner = unsafe tensor.pointee.owner else { return }
  unsafe Unmanaged<AnyObject>.fromOpaque(owner).release()
  unsafe tensor.pointee = gyre_named_tensor()
}
