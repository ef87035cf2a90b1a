/** Checkpoint I/O, tokenizer, models, adapters, training and evaluation. */
package org.horosphere.finetune;
