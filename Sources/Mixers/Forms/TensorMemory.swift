import Synchronization
public import Compute
import Tensors

/// Memory of tensors that are gone, kept for others of the same size.
///
/// Pages that are touched for the first time are cleared by the system, and on a virtual machine
/// its host may have to find them first, which can take twenty times as long as reading them. Who
/// measures passes keeps their memory, or has it ready before; unless somebody asks for that,
/// memory goes back to the system with its tensor.
public enum TensorMemory {
  /// What is kept.
  private struct Spare {
    /// Who clears memory before it is used again.
    let team: ThreadTeam
    /// What is not in use, by how many numbers it has.
    var blocks: [Int: [TensorBlock]] = [:]
  }

  private static let spare = Mutex<Spare?>(nil)

  /// Numbers from which it is worth while: what is less the system's allocator keeps itself.
  private static let least = 1 << 16

  /// From now on keeps what tensors leave.
  ///
  /// - Parameter team: the threads that make zeros of it when it is used again.
  public static func keep(on team: ThreadTeam) {
    spare.withLock { $0 = $0 ?? Spare(team: team) }
  }

  /// Gives back what is not in use, and from now on keeps nothing.
  public static func release() {
    spare.withLock { $0 = nil }
  }

  /// Keeps memory for tensors of these forms, touched by the threads that will use it.
  ///
  /// - Parameter tokens: those of the rank.
  public static func reserve(_ forms: [TensorForm], tokens: Int, on team: ThreadTeam) {
    keep(on: team)
    for form in forms {
      let count = form.shape(tokens: tokens).elementCount
      if count < least { continue }
      let block = TensorBlock(Tensor(zeros: Shape([count])))
      clear(block, on: team)
      block.isClear = true
      give(block)
    }
  }

  /// Makes zeros of what is not in use, so that who takes it need not wait for that.
  public static func clear() {
    spare.withLock { spare in
      guard let spare else { return }
      for block in spare.blocks.values.joined() where !block.isClear {
        clear(block, on: spare.team)
        block.isClear = true
      }
    }
  }

  private static func clear(_ block: TensorBlock, on team: ThreadTeam) {
    nonisolated(unsafe) let base = unsafe block.tensor.unsafeBaseAddress
    let (count, part) = (block.tensor.count, 1 << 20)
    team.run(
      Parts(unitCount: (count + part - 1) / part) { index in
        let start = index * part
        unsafe (base + start).update(repeating: 0, count: min(part, count - start))
      }, poll: { _ in })
  }

  /// Zeros that were kept; nil if there are none of this size.
  static func take(_ count: Int) -> TensorBlock? {
    if count < least { return nil }
    let kept = spare.withLock { spare in
      spare.flatMap { ($0.team, spare?.blocks[count]?.popLast()) }
    }
    guard let (team, found) = kept, let block = found else { return nil }
    if !block.isClear { clear(block, on: team) }
    block.isClear = false
    return block
  }

  /// Takes what a tensor leaves.
  static func give(_ block: TensorBlock) {
    let count = block.tensor.count
    if count < least { return }
    spare.withLock { $0?.blocks[count, default: []].append(block) }
  }
}

/// The memory of a tensor.
final class TensorBlock: @unchecked Sendable {
  let tensor: Tensor<Float>
  /// Whether it is zeros, of memory that is kept.
  var isClear = false

  init(_ tensor: consuming Tensor<Float>) { self.tensor = tensor }
}

private struct Parts: ThreadedPass {
  let unitCount: Int
  let body: @Sendable (_ unit: Int) -> Void

  func run(_ units: ThreadTeam.Units, poll: (_ work: Int) -> Void) {
    while let unit = units.next() { body(unit) }
  }
}
