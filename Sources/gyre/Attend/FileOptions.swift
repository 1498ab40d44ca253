import ArgumentParser

/// The options of commands that read tensors from files, on how these are to be understood.
struct FileOptions: ParsableArguments {
  @Option(
    parsing: .unconditional,
    help: ArgumentHelp(
      """
      What the tensors are called in a .safetensors file, for those that are not called q, k, v \
      (and do): q=query,k=key,v=value.
      """, valueName: "q=NAME,…"),
    transform: TensorNames.init(parsing:))
  var names: TensorNames?

  @Option(
    help: """
      The order of the dimensions in files, of tensors that are read and of o, dq, dk and dv that \
      are written: bshd, [batch, tokens, heads, headDim], or bhsd, [batch, heads, tokens, \
      headDim]. (default: bshd)
      """)
  var inputLayout: InputLayout?

  /// The order asked for, or the usual one.
  var layout: InputLayout { inputLayout ?? .bshd }

  /// Refuses what is about files where there are none, or none of the kind.
  ///
  /// - Parameters:
  ///   - isRandom: whether the input is `--random`.
  ///   - isNpy: whether it is .npy files.
  func check(isRandom: Bool, isNpy: Bool = false) throws {
    if isRandom, inputLayout != nil {
      throw ValidationError(
        "--input-layout is about files, and --random has the order that it says; leave one of "
          + "them out."
      )
    }
    if names != nil, isRandom || isNpy {
      throw ValidationError(
        "--names is about the tensors of a .safetensors file, and "
          + "\(isRandom ? "--random has no file" : "a .npy file has one without a name"); leave "
          + "it out."
      )
    }
  }
}
