public import ArgumentParser
public import Mixers

extension MixerNormalization: ExpressibleByArgument {}
