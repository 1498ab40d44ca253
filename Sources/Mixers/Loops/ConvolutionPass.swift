package import MPI

extension ShortConvolution {
  /// A convolution of one sequence for who goes on with what it makes.
  package struct Pass {
    private let x: MixerTensor
    private let weight: MixerTensor
    private let bias: MixerTensor?
    private let before: MixerTensor?

    /// - Parameters:
    ///   - x: `[batch, tokens, channels]`.
    ///   - weight: `[channels, width]`.
    ///   - bias: `[channels]`, or none.
    ///   - before: `[batch, channels, width − 1]`, the rows before the sequences; nil is zeros.
    package init(
      _ x: MixerTensor, weight: MixerTensor, bias: MixerTensor?, before: MixerTensor?
    ) {
      (self.x, self.weight, self.bias, self.before) = (x, weight, bias, before)
    }

    /// Computes a rank's tokens, called by all ranks together.
    ///
    /// - Returns: `silu` of the sums, `[batch, tokens, channels]`, and on the rank with the last
    ///   tokens the rows that next sequences start from.
    package func run(
      on line: RankLine
    ) throws(MPIError) -> (output: MixerTensor, before: MixerTensor) {
      let convolution = ShortConvolution(
        x: x, weight: weight, bias: bias,
        blocks: ChannelBlocks(
          batch: x.form.sizes[0], channels: x.form.sizes[2], on: line))
      let halo = try convolution.halo(before: before, on: line)
      return (convolution.forward(halo, on: line), convolution.lastRows(halo, on: line))
    }
  }
}
