import ArgumentParser
import Attention

/// Masks of which the input says what they hide, or a draw where there is no input.
struct InputMaskOptions: ParsableArguments {
  @Flag(
    help: """
      A query sees the keys with the number of its own segment, in segment_ids [batch, tokens] of \
      the input, and key_segment_ids [batch, keyTokens] where there are other keys than queries. \
      With random inputs: 16 documents of random lengths in each sequence.
      """)
  var segments = false

  @Flag(
    help: """
      A query sees the keys of its own document, of which cu_seqlens [documents + 1] of the input \
      says where they begin and where the last one ends. With random inputs: as --segments, the \
      same in all sequences.
      """)
  var cuSeqlens = false

  @Flag(
    help: """
      No query sees a key for which key_padding_mask [batch, keyTokens] of the input has 0. With \
      random inputs: sequences of random lengths.
      """)
  var padding = false

  @Flag(
    help: """
      Segments of segment_ids from 0 on are context windows, which do not see each other; -1 is \
      the task, which sees all. With random inputs: eight windows of random lengths and a task.
      """)
  var parallelWindows = false

  @Option(
    help: ArgumentHelp(
      """
      Where positions of --parallel-windows are the same: left, all windows begin at 0, or right, \
      all end where the longest does. (default: left)
      """, valueName: "left|right"))
  var windowAlign: ParallelWindowMask.Alignment?

  @Flag(
    help: """
      As --parallel-windows with --window-align right, and each of the task's own keys weighs as \
      much as one of each window together.
      """)
  var structured = false

  @Flag(
    help: """
      Token 0 sees all and is seen by all; the others see themselves and their two neighbours, of \
      which the last token is one of token 1.
      """)
  var star = false

  func validate() throws {
    let ofSegments = [
      ("--segments", segments), ("--cu-seqlens", cuSeqlens),
      ("--parallel-windows", parallelWindows), ("--structured", structured),
    ].filter(\.1).map(\.0)
    if ofSegments.count > 1 {
      throw ValidationError(
        "\(ofSegments[0]) and \(ofSegments[1]) both say what segments of tokens see of each other; "
          + "give one of them.")
    }
    if windowAlign != nil, !parallelWindows {
      throw ValidationError(
        structured
          ? "--structured aligns windows to the right; leave --window-align out."
          : "--window-align is for --parallel-windows; give that with it, or leave it out.")
    }
  }

  /// What they come to.
  var masks: [any Mask] {
    let masks: [(any Mask)?] = [
      segments ? SegmentMask() : nil, cuSeqlens ? SegmentMask(.starts) : nil,
      padding ? PaddingMask() : nil,
      parallelWindows ? ParallelWindowMask(windowAlign ?? .left) : nil,
      structured ? ParallelWindowMask.structured : nil, star ? StarMask() : nil,
    ]
    return masks.compactMap { $0 }
  }
}

/// A mask in a file of its own.
struct BlockMaskOption: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      """
      A .safetensors or .npy file with one tensor of U8 or BOOL, [blocks, keyBlocks] or \
      [queryHeads, blocks, keyBlocks]: 1 where a block of queries sees a block of keys. All blocks \
      but the last are of one size. (default: none)
      """, valueName: "file"),
    completion: .file(extensions: ["safetensors", "npy"]))
  var blockMask: String?

  /// What it comes to.
  var masks: [any Mask] { blockMask.map { [BlockMask(path: $0)] } ?? [] }
}
