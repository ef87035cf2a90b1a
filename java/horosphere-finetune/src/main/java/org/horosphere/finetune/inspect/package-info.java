/** Is this embedding space hyperbolic at all: power law, norms, delta beside null models. */
package org.horosphere.finetune.inspect;
